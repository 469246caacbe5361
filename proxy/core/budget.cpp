#include "proxy/core/budget.hpp"

#include <algorithm>

namespace oceanid::proxy {
namespace {

// Event loops, listeners, resolver and control sockets, log, memfds.
constexpr std::uint64_t for_ourselves = 128;
// Pipes that relays borrow for bulk (two descriptors each, see RelayPool), timers and listeners.
constexpr std::uint64_t for_each_loop = 2 * 96 + 32;
constexpr std::uint64_t files_per_tunnel = 2;
constexpr std::uint64_t most_in_lobby = 16384;                  // of each loop
constexpr std::uint64_t lobby_bytes = std::uint64_t{64} << 20;  // of all loops
constexpr std::uint64_t least_in_lobby = 16;
constexpr std::uint64_t most_idle_origins = 256;  // of each loop

}  // namespace

Budget budget_for(std::uint64_t max_files, std::uint32_t loops, const Limits& limits, bool tls) {
  const std::uint64_t n = std::max(loops, 1U);
  const std::uint64_t taken = for_ourselves + n * for_each_loop;
  const std::uint64_t free = max_files > taken ? max_files - taken : 0;
  Budget out;
  const auto waiting = std::clamp(free / 4 / n, least_in_lobby, most_in_lobby);
  out.lobby = {waiting, lobby_bytes / n};
  const auto origins = std::min(free / 32 / n, most_idle_origins);
  out.idle_origins = static_cast<std::uint32_t>(origins);
  const auto possible = (free - std::min(free, (waiting + origins) * n)) /
                        (tls ? 2 * files_per_tunnel : files_per_tunnel);
  const std::uint64_t wanted = limits.tunnels == 0 ? UINT32_MAX : limits.tunnels;
  out.tunnels = static_cast<std::uint32_t>(std::max<std::uint64_t>(std::min(wanted, possible), 1));
  return out;
}

}  // namespace oceanid::proxy
