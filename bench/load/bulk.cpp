#include "bench/load/measure.hpp"
#include "bench/load/report.hpp"
#include "bench/load/tunnel.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace oceanid::bench {
namespace {

constexpr int kPerTurn = 4;  // system calls for one stream before the others get their turn

struct Run {
  const Options& options;
  Poller poller;
  Window window;
  Descriptor noise;
  Failures failures{};
};

class Stream : public Handler {
 public:
  explicit Stream(Run& run) : run_(run) {}

  void start(std::size_t serial) {
    tunnel_.start(run_.poller, *this, run_.options, serial);
    note_failure();
  }

  void on_events(std::uint32_t events) override {
    if (tunnel_.phase() != Tunnel::Phase::open) {
      if (tunnel_.advance(events) == Tunnel::Phase::open) {
        begin();
      }
    } else if (run_.options.up) {
      if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        read_totals();
      }
      if ((events & EPOLLOUT) != 0) {
        send();
      }
    } else {
      receive();
    }
    note_failure();
  }

  std::uint64_t arrived() const { return arrived_; }  // at the far end of the direction measured

 private:
  // Level-triggered from here on: a stream is always ready, and edges would have to be drained.
  void begin() {
    const std::uint32_t events = run_.options.up ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (!run_.options.up) {
      tunnel_.send_byte('D');
    }
    if (auto changed = run_.poller.change(tunnel_.fd(), events, *this); !changed) {
      tunnel_.fail_with(std::move(changed.error().what));
    }
  }

  void receive() {
    for (int i = 0; i < kPerTurn && tunnel_.phase() == Tunnel::Phase::open; ++i) {
      const auto count = discard(tunnel_.fd(), run_.options.copy);
      if (count > 0) {
        arrived_ += static_cast<std::uint64_t>(count);
      } else if (count < 0 && errno == EAGAIN) {
        return;
      } else {
        tunnel_.fail_with("the tunnel was closed");
      }
    }
  }

  void send() {
    for (int i = 0; i < kPerTurn && tunnel_.phase() == Tunnel::Phase::open; ++i) {
      if (send_noise(tunnel_.fd(), run_.noise.get(), offset_) < 0) {
        if (errno != EAGAIN) {
          tunnel_.fail_with("sending");
        }
        return;
      }
    }
  }

  // The target's running totals, 8 bytes each, possibly cut anywhere by the relay.
  void read_totals() {
    std::array<std::byte, 4096> buffer;
    const auto count = ::recv(tunnel_.fd(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EAGAIN) {
      return;
    }
    if (count <= 0) {
      tunnel_.fail_with("the tunnel was closed");
      return;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      partial_[partial_bytes_++] = buffer[i];
      if (partial_bytes_ == partial_.size()) {
        std::memcpy(&arrived_, partial_.data(), sizeof arrived_);
        partial_bytes_ = 0;
      }
    }
  }

  void note_failure() {
    if (tunnel_.phase() == Tunnel::Phase::failed) {
      run_.failures.add(tunnel_.reason());
      tunnel_.close();
    }
  }

  Run& run_;
  Tunnel tunnel_;
  std::size_t offset_ = 0;
  std::uint64_t arrived_ = 0;
  std::array<std::byte, sizeof(std::uint64_t)> partial_{};
  std::size_t partial_bytes_ = 0;
};

}  // namespace

Result<void> measure_bulk(const Options& options) {
  auto poller = Poller::make();
  auto noise = make_noise();
  if (!poller || !noise) {
    return std::unexpected(poller ? noise.error() : poller.error());
  }
  Run run{.options = options,
          .poller = std::move(*poller),
          .window = Window(options, Clock::now()),
          .noise = std::move(*noise)};
  std::vector<std::unique_ptr<Stream>> streams;
  for (std::size_t i = 0; i < options.tunnels; ++i) {
    streams.push_back(std::make_unique<Stream>(run));
    streams.back()->start(i);
  }
  const auto total = [&streams] {
    std::uint64_t sum = 0;
    for (const auto& stream : streams) {
      sum += stream->arrived();
    }
    return sum;
  };
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  const auto done =
      run.window.run(run.poller, [] {}, [&] { before = total(); }, [&] { after = total(); });
  if (!done) {
    return done;
  }
  const auto bytes = after - before;
  print_line(fmt::format(
      R"({{"event":"result","seconds":{:.6f},"bytes":{},"gbit_per_second":{:.4f},"failures":{},)"
      R"("client_cpu_s":{:.4f}}})",
      run.window.measured_seconds(), bytes,
      static_cast<double>(bytes) * 8 / 1e9 / run.window.measured_seconds(), run.failures.to_json(),
      run.window.client_cpu_seconds()));
  return {};
}

}  // namespace oceanid::bench
