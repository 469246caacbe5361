#pragma once
// Looks at the host for judge_host(). Synchronous; reads only.

#include "gateway/base/error.hpp"
#include "routing/core/host_check.hpp"

#include <string>

namespace oceanid::routing {

enum class Depth : bool {
  cheap,  // at every start: rules, sysctls, files; some milliseconds
  whole   // besides, every route, the whole ruleset, and what the kernel accepts
};

Result<HostState> survey_host(const Inputs& wanted, Depth depth);

// systemd-networkd's settings below `root` ("" for the host): networkd.conf and its drop-ins, in
// the order of networkd.conf(5). None: it has never run since the boot.
std::optional<Networkd> read_networkd(const std::string& root);

}  // namespace oceanid::routing
