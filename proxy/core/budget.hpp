#pragma once
// How many connections the process's limit of open files can carry, so that the answer is a 503
// long before accept(2) fails. Pure.

#include "proxy/core/lobby.hpp"
#include "proxy/core/settings.hpp"

#include <cstdint>

namespace oceanid::proxy {

struct Budget {
  std::uint32_t tunnels = 0;         // over all event loops; 0: no limit
  LobbyLimits lobby;                 // of each event loop
  std::uint32_t idle_origins = 256;  // of each event loop: connections kept for another request
  bool operator==(const Budget&) const = default;
};

// `max_files`: RLIMIT_NOFILE. The operator's limit counts unless the files do not allow it.
// `tls`: clients may come by TLS, which takes two descriptors more for each.
Budget budget_for(std::uint64_t max_files, std::uint32_t loops, const Limits& limits,
                  bool tls = false);

}  // namespace oceanid::proxy
