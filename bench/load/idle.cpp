#include "bench/load/measure.hpp"
#include "bench/load/report.hpp"
#include "bench/load/tunnel.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include <unistd.h>

namespace oceanid::bench {
namespace {

constexpr std::size_t kAtOnce = 64;  // tunnels being opened at the same time
constexpr auto kPatience = std::chrono::seconds(20);

struct Run {
  const Options& options;
  Poller poller;
  std::size_t pending = 0;  // tunnels that owe us an answer
  std::size_t proven = 0;
  Failures failures{};
};

class Sleeper : public Handler {
 public:
  explicit Sleeper(Run& run) : run_(run) {}

  void start(std::size_t serial) {
    owes_ = true;
    ++run_.pending;
    tunnel_.start(run_.poller, *this, run_.options, serial);
    settle_if_failed();
  }

  void prove_again() {
    if (tunnel_.phase() == Tunnel::Phase::open) {
      owes_ = true;
      ++run_.pending;
      tunnel_.send_ping();
      settle_if_failed();
    }
  }

  void on_events(std::uint32_t events) override {
    if (tunnel_.phase() != Tunnel::Phase::open) {
      if (tunnel_.advance(events) == Tunnel::Phase::open) {
        tunnel_.send_ping();
      }
    } else if (tunnel_.receive_pong()) {
      ++run_.proven;
      settle();
    }
    settle_if_failed();
  }

 private:
  void settle() {
    if (std::exchange(owes_, false)) {
      --run_.pending;
    }
  }

  void settle_if_failed() {
    if (tunnel_.phase() == Tunnel::Phase::failed) {
      run_.failures.add(tunnel_.reason());
      tunnel_.close();
      settle();
    }
  }

  Run& run_;
  Tunnel tunnel_;
  bool owes_ = false;
};

Result<void> poll_until(Run& run, std::size_t most_pending) {
  const auto deadline = Clock::now() + kPatience;
  while (run.pending > most_pending && Clock::now() < deadline) {
    if (auto polled = run.poller.poll(std::chrono::milliseconds(100)); !polled) {
      return polled;
    }
  }
  return {};
}

bool wait_for_line() {
  for (int byte = std::getchar(); byte != EOF; byte = std::getchar()) {
    if (byte == '\n') {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<void> measure_idle(const Options& options) {
  auto poller = Poller::make();
  if (!poller) {
    return std::unexpected(std::move(poller.error()));
  }
  Run run{.options = options, .poller = std::move(*poller)};
  std::vector<std::unique_ptr<Sleeper>> sleepers;
  for (const std::size_t step : options.steps) {
    while (sleepers.size() < step) {
      sleepers.push_back(std::make_unique<Sleeper>(run));
      sleepers.back()->start(sleepers.size());
      if (auto polled = poll_until(run, kAtOnce); !polled) {
        return polled;
      }
      if (run.pending > kAtOnce) {
        break;  // nothing moves for 20 s: report what there is
      }
    }
    if (auto polled = poll_until(run, 0); !polled) {
      return polled;
    }
    print_line(fmt::format(R"({{"event":"step","wanted":{},"open":{},"failures":{}}})", step,
                           run.proven, run.failures.to_json()));
    if (!wait_for_line()) {
      return fail(Errc::closed, "standard input ended");
    }
  }
  const std::size_t opened = std::exchange(run.proven, 0);
  for (const auto& sleeper : sleepers) {
    sleeper->prove_again();
  }
  if (auto polled = poll_until(run, 0); !polled) {
    return polled;
  }
  print_line(fmt::format(R"({{"event":"result","opened":{},"alive":{},"failures":{}}})", opened,
                         run.proven, run.failures.to_json()));
  return {};
}

}  // namespace oceanid::bench
