#include "proxy/edge/origin_pool.hpp"

#include <chrono>
#include <utility>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_idle = 256;  // a few hundred descriptors of each loop's budget
constexpr std::size_t most_of_one_origin = 32;
constexpr auto longest_idle =
    30s;  // below what common servers allow, so that they rarely win the race

// An idle connection has nothing to say: bytes or an end mean that it cannot be used.
bool is_quiet(int fd) {
  char byte = 0;
  return recv_some(fd, &byte, 1) == -EAGAIN;
}

}  // namespace

void OriginPool::drop_expired() {
  const auto now = SteadyClock::now();
  while (!idle_.empty() && (idle_.front().expires <= now || idle_.size() > most_idle))
    idle_.pop_front();
}

std::optional<OriginConnection> OriginPool::take(const ExitChoice& exit, const std::string& role,
                                                 const HostPort& origin) {
  drop_expired();
  for (auto at = idle_.end(); at != idle_.begin();) {
    --at;
    if (at->origin != origin || at->role != role || at->connection.exit != exit) continue;
    OriginConnection found = std::move(at->connection);
    at = idle_.erase(at);
    if (is_quiet(found.socket.native_handle())) return found;
  }
  return std::nullopt;
}

void OriginPool::put(const std::string& role, const HostPort& origin, OriginConnection connection) {
  std::size_t same = 0;
  for (auto at = idle_.end(); at != idle_.begin();) {
    --at;
    if (at->origin == origin && ++same >= most_of_one_origin) at = idle_.erase(at);
  }
  idle_.push_back({role, origin, std::move(connection), SteadyClock::now() + longest_idle});
  drop_expired();
}

}  // namespace oceanid::proxy
