#include "tunnel/edge/tcp_backlog.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

constexpr int dead_after_ms = 3000;
constexpr std::uint64_t least_backlog = 16U << 10U;
constexpr std::uint64_t most_backlog = 128U << 10U;
constexpr std::uint64_t per_second = 20;  // backlogs of 50 ms

void set(int fd, int option, int value) {
  ::setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value);
}

}  // namespace

void tune_for_datagrams(int fd) {
  set(fd, TCP_NODELAY, 1);
  set(fd, TCP_USER_TIMEOUT, dead_after_ms);
  set(fd, TCP_NOTSENT_LOWAT, static_cast<int>(most_backlog));
  constexpr std::string_view bbr = "bbr";
  ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, bbr.data(), bbr.size());
}

void limit_backlog(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  // A rate measured while we had little to send says nothing about the path.
  if (info.tcpi_delivery_rate_app_limited) return;
  const std::uint64_t backlog =
      std::clamp<std::uint64_t>(info.tcpi_delivery_rate / per_second, least_backlog, most_backlog);
  set(fd, TCP_NOTSENT_LOWAT, static_cast<int>(backlog));
}

}  // namespace oceanid::tunnel
