#pragma once
// `oceanid status` for a human: the snapshot as a page of text. Pure.

#include "gateway/ipc/snapshot.hpp"

#include <string>

namespace oceanid::cli {

std::string status_text(const ipc::GatewaySnapshot& snapshot);
std::string human_bytes(std::uint64_t bytes);

}  // namespace oceanid::cli
