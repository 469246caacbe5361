#pragma once
// `oceanid check --system`: what about this host gets in the configuration's way.

#include "gateway/base/error.hpp"
#include "gateway/config/config.hpp"
#include "routing/core/host_check.hpp"

#include <vector>

namespace oceanid::process {

Result<std::vector<routing::Finding>> check_host(const Config& config);

// The cheap part of it, as lines of the log: at the start of the gateway. The whole would list
// every rule and every element of everybody's sets (an nft call takes up to a second once large
// ones exist) and hold the answer, nft's JSON, as one value: before the closed state stands nobody
// waits for that, and netd's memory shall not depend on what others keep in nftables. The command
// is another process, and its memory goes with it.
void warn_about_host(const Config& config);

}  // namespace oceanid::process
