#include "proxy/edge/origin_pool.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <poll.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_of_one_origin = 32;

// An idle connection has nothing to say: bytes or an end mean that it cannot be used.
bool is_quiet(int fd) {
  char byte = 0;
  return recv_some(fd, &byte, 1) == -EAGAIN;
}

}  // namespace

OriginPool::OriginPool(asio::io_context& io, Times times)
    : times_(times), timer_(io.get_executor()), self_(std::make_shared<OriginPool*>(this)) {}

OriginPool::~OriginPool() {
  *self_ = nullptr;
}

void OriginPool::set_limit(std::size_t most_idle) {
  most_idle_ = most_idle;
  keep_within_limit();
}

void OriginPool::keep_within_limit() {
  while (idle_.size() > most_idle_)
    idle_.pop_front();
}

std::optional<OriginConnection> OriginPool::take(const ExitChoice& exit, const std::string& role,
                                                 const HostPort& origin,
                                                 SteadyClock::duration longest) {
  const auto now = SteadyClock::now();
  for (auto at = idle_.end(); at != idle_.begin();) {
    --at;
    if (at->origin != origin || at->role != role || at->connection.exit != exit) continue;
    if (now - at->since > longest) break;  // the ones before it are older
    const bool expired = at->expires <= now;
    OriginConnection found = std::move(at->connection);
    at = idle_.erase(at);
    if (!expired && is_quiet(found.socket.native_handle())) return found;
  }
  return std::nullopt;
}

void OriginPool::put(const std::string& role, const HostPort& origin, OriginConnection connection,
                     std::optional<std::chrono::seconds> announced) {
  std::size_t same = 0;
  for (auto at = idle_.end(); at != idle_.begin();) {
    --at;
    if (at->origin == origin && ++same >= most_of_one_origin) at = idle_.erase(at);
  }
  const auto now = SteadyClock::now();
  std::chrono::milliseconds keep = times_.longest_idle;
  // A little less than announced, because the announcement has been on its way.
  if (announced && *announced <= keep)
    keep = std::max<std::chrono::milliseconds>(*announced - 1s, *announced / 2);
  idle_.push_back({role, origin, std::move(connection), now, now + keep});
  keep_within_limit();
  look_later();
}

void OriginPool::clear() {
  idle_.clear();
  timer_.cancel();
}

// The timer runs only while there is something to look at.
void OriginPool::look_later() {
  if (looking_ || idle_.empty()) return;
  looking_ = true;
  timer_.expires_after(times_.between_looks);
  timer_.async_wait([self = self_](error_code) {
    OriginPool* const pool = *self;
    if (pool == nullptr) return;
    pool->looking_ = false;
    pool->drop_ended();
    pool->look_later();
  });
}

void OriginPool::drop_ended() {
  std::vector<pollfd> all;
  all.reserve(idle_.size());
  for (Idle& idle : idle_)
    all.push_back({idle.connection.socket.native_handle(), POLLIN | POLLRDHUP, 0});
  if (::poll(all.data(), all.size(), 0) < 0) return;  // next time
  const auto now = SteadyClock::now();
  auto seen = all.begin();
  for (auto at = idle_.begin(); at != idle_.end(); ++seen)
    at = seen->revents != 0 || at->expires <= now ? idle_.erase(at) : std::next(at);
}

}  // namespace oceanid::proxy
