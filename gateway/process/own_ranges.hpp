#pragma once
// The ranges that a gateway knows as its own cluster's: no stranger is connected to them unless
// `guard.allow` says so. Pure.

#include "gateway/config/config.hpp"
#include "proxy/core/guard.hpp"

#include <vector>

namespace oceanid::process {

std::vector<proxy::NamedPrefix> own_ranges(const Config& config,
                                           const std::vector<IpAddress>& local_addresses,
                                           const std::vector<IpAddress>& endpoint_addresses);

}  // namespace oceanid::process
