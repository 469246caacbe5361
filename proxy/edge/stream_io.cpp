#include "proxy/edge/stream_io.hpp"

#include <cerrno>
#include <string_view>
#include <utility>

namespace oceanid::proxy {
namespace {

// How much of it may be sent now, at least one byte.
awaitable<std::size_t> wait_for_leave(Throttle& throttle, Timer& timer, std::size_t wanted) {
  for (;;) {
    if (const std::size_t may = throttle.take(wanted); may > 0) co_return may;
    timer.expires_after(throttle.wait());
    if (auto [ec] = co_await timer.async_wait(as_result); ec)
      throw boost::system::system_error(asio::error::operation_aborted);
  }
}

awaitable<bool> send_piece(Descriptor& to, std::string_view rest, Timer& timer,
                           std::chrono::milliseconds patience) {
  while (!rest.empty()) {
    const ssize_t sent = send_some(to.native_handle(), rest);
    if (sent >= 0)
      rest.remove_prefix(static_cast<std::size_t>(sent));
    else if (sent != -EAGAIN || !co_await wait_until_ready(to, Descriptor::wait_write, timer,
                                                           SteadyClock::now() + patience))
      co_return false;
  }
  co_return true;
}

}  // namespace

awaitable<bool> send_all(Descriptor& to, std::string bytes, Timer& timer,
                         std::chrono::milliseconds patience, Throttle* throttle) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    std::size_t piece = rest.size();
    if (throttle != nullptr) piece = co_await wait_for_leave(*throttle, timer, piece);
    if (!co_await send_piece(to, rest.substr(0, piece), timer, patience)) co_return false;
    rest.remove_prefix(piece);
  }
  co_return true;
}

awaitable<std::expected<std::string, NoBytes>> receive(Descriptor& from, RelayPool& pool,
                                                       Timer& timer,
                                                       std::chrono::milliseconds patience) {
  for (;;) {
    const auto scratch = pool.scratch();  // shared: used up before the next wait
    const ssize_t got = recv_some(from.native_handle(), scratch.data(), scratch.size());
    if (got >= 0) co_return std::string(scratch.data(), static_cast<std::size_t>(got));
    if (got != -EAGAIN) co_return std::unexpected(NoBytes::broken);
    if (!co_await wait_until_ready(from, Descriptor::wait_read, timer,
                                   SteadyClock::now() + patience))
      co_return std::unexpected(NoBytes::silent);
  }
}

}  // namespace oceanid::proxy
