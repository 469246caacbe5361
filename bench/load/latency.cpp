#include "bench/load/measure.hpp"
#include "bench/load/report.hpp"
#include "bench/load/tunnel.hpp"

#include <memory>
#include <vector>

#include <fmt/format.h>

#include <sys/epoll.h>

namespace oceanid::bench {
namespace {

struct Run {
  const Options& options;
  Poller poller;
  Window window;
  Samples times{};
  Failures failures{};
};

class Pinger : public Handler {
 public:
  explicit Pinger(Run& run) : run_(run) {}

  void start(std::size_t serial) {
    tunnel_.start(run_.poller, *this, run_.options, serial);
    note_failure();
  }

  void on_events(std::uint32_t events) override {
    if (tunnel_.phase() != Tunnel::Phase::open) {
      if (tunnel_.advance(events) == Tunnel::Phase::open) {
        ping();
      }
    } else if (tunnel_.receive_pong()) {
      const auto now = Clock::now();
      if (run_.window.contains(now)) {
        run_.times.add(now - sent_);
      }
      ping();
    }
    note_failure();
  }

 private:
  void ping() {
    sent_ = Clock::now();
    tunnel_.send_ping();
  }

  void note_failure() {
    if (tunnel_.phase() == Tunnel::Phase::failed) {
      run_.failures.add(tunnel_.reason());
      tunnel_.close();
    }
  }

  Run& run_;
  Tunnel tunnel_;
  Clock::time_point sent_;
};

}  // namespace

Result<void> measure_latency(const Options& options) {
  auto poller = Poller::make();
  if (!poller) {
    return std::unexpected(std::move(poller.error()));
  }
  Run run{
      .options = options, .poller = std::move(*poller), .window = Window(options, Clock::now())};
  std::vector<std::unique_ptr<Pinger>> pingers;
  for (std::size_t i = 0; i < options.tunnels; ++i) {
    pingers.push_back(std::make_unique<Pinger>(run));
    pingers.back()->start(i);
  }
  if (auto done = run.window.run(run.poller, [] {}, [] {}, [] {}); !done) {
    return done;
  }
  const auto per_second = static_cast<double>(run.times.count()) / run.window.measured_seconds();
  print_line(fmt::format(
      R"({{"event":"result","seconds":{:.6f},"pings":{},"per_second":{:.1f},"round_trip":{},)"
      R"("failures":{},"client_cpu_s":{:.4f}}})",
      run.window.measured_seconds(), run.times.count(), per_second, run.times.to_json(),
      run.failures.to_json(), run.window.client_cpu_seconds()));
  return {};
}

}  // namespace oceanid::bench
