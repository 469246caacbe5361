#pragma once
// `oceanid check --system`: what about this host gets in the configuration's way.

#include "gateway/base/error.hpp"
#include "gateway/config/config.hpp"
#include "routing/core/host_check.hpp"

#include <vector>

namespace oceanid::process {

Result<std::vector<routing::Finding>> check_host(const Config& config);

// The cheap part of it, as lines of the log: at the start of the gateway.
void warn_about_host(const Config& config);

}  // namespace oceanid::process
