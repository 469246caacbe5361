#pragma once
// Files that only root can read and the worker needs (certificates, keys, users): opened here, by
// netd, and handed over as sealed memfds, so that the worker has no file system rights to lose.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/config/config.hpp"

#include <string>
#include <vector>

namespace oceanid::process {

std::vector<std::string> secret_files(const Config& config);  // in a stable order, each once
// And those that netd reads itself, for the TLS transport of tunnels: what a change is followed of.
std::vector<std::string> all_secret_files(const Config& config);
Result<UniqueFd> open_secret_file(const std::string& path);  // at most 1 MiB

}  // namespace oceanid::process
