#include "proxy/edge/relay_pool.hpp"

#include <array>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace oceanid::proxy {
namespace {

// 64 KiB a read: smaller costs throughput, larger leaves the second-level cache.
constexpr std::size_t scratch_size = std::size_t{64} << 10;
// An unprivileged user may hold 64 MiB of pipe buffers (fs.pipe-user-pages-soft); beyond that the
// kernel hands out pipes of two pages, which are slower than copying.
constexpr int pipe_size = 256 << 10;
constexpr std::size_t max_pipes = 96;
constexpr std::size_t max_cached = 32;

}  // namespace

RelayPool::RelayPool() : scratch_(scratch_size) {}

std::optional<Pipe> RelayPool::borrow_pipe() {
  if (!cache_.empty()) {
    Pipe pipe = std::move(cache_.back());
    cache_.pop_back();
    ++lent_;
    return pipe;
  }
  std::array<int, 2> ends{};
  if (lent_ >= max_pipes || ::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) {
    ++starved_;
    return std::nullopt;
  }
  // Refused beyond the user's budget: the pipe keeps its default 64 KiB and works all the same.
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, pipe_size));
  ++lent_;
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void RelayPool::give_back(Pipe pipe) {
  --lent_;
  if (cache_.size() < max_cached) cache_.push_back(std::move(pipe));
}

void RelayPool::drop(Pipe pipe) {
  --lent_;
  pipe = {};
}

}  // namespace oceanid::proxy
