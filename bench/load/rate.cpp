#include "bench/load/measure.hpp"
#include "bench/load/report.hpp"
#include "bench/load/tunnel.hpp"

#include <memory>
#include <vector>

#include <fmt/format.h>

#include <sys/epoll.h>

namespace oceanid::bench {
namespace {

class Client;

struct Run {
  const Options& options;
  Poller poller;
  Window window;
  std::size_t serial = 0;
  std::size_t finished = 0;
  Samples opening{};  // from connect() to the 200 (direct: to the established connection)
  Samples whole{};    // from connect() to the echo
  Failures failures{};
  std::vector<Client*> to_restart{};
};

class Client : public Handler {
 public:
  explicit Client(Run& run) : run_(run) {}

  void start() {
    started_ = Clock::now();
    tunnel_.start(run_.poller, *this, run_.options, run_.serial++);
    give_up_if_failed();
  }

  void on_events(std::uint32_t events) override {
    if (tunnel_.phase() != Tunnel::Phase::open) {
      if (tunnel_.advance(events) == Tunnel::Phase::open) {
        opened_ = Clock::now();
        tunnel_.send_ping();
      }
    } else if (tunnel_.receive_pong()) {
      finish();
      return;
    }
    give_up_if_failed();
  }

  // Older than this at the end of the run means stuck, not merely unfinished.
  bool is_stuck(Clock::time_point now) const { return now - started_ > std::chrono::seconds(2); }

 private:
  void finish() {
    const auto now = Clock::now();
    if (run_.window.contains(now)) {
      ++run_.finished;
      run_.opening.add(opened_ - started_);
      run_.whole.add(now - started_);
    }
    tunnel_.close();
    start();
  }

  // Not restarted on the spot: a proxy that refuses would turn that into an endless recursion.
  void give_up_if_failed() {
    if (tunnel_.phase() == Tunnel::Phase::failed) {
      run_.failures.add(tunnel_.reason());
      tunnel_.close();
      run_.to_restart.push_back(this);
    }
  }

  Run& run_;
  Tunnel tunnel_;
  Clock::time_point started_;
  Clock::time_point opened_;
};

}  // namespace

Result<void> measure_rate(const Options& options) {
  auto poller = Poller::make();
  if (!poller) {
    return std::unexpected(std::move(poller.error()));
  }
  Run run{
      .options = options, .poller = std::move(*poller), .window = Window(options, Clock::now())};
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < options.tunnels; ++i) {
    clients.push_back(std::make_unique<Client>(run));
    clients.back()->start();
  }
  const auto restart = [&run] {
    for (Client* client : std::exchange(run.to_restart, {})) {
      client->start();
    }
  };
  if (auto done = run.window.run(run.poller, restart, [] {}, [] {}); !done) {
    return done;
  }
  for (const auto& client : clients) {
    if (client->is_stuck(run.window.end())) {
      run.failures.add("stuck for more than 2 s");
    }
  }
  print_line(fmt::format(
      R"({{"event":"result","seconds":{:.6f},"tunnels":{},"per_second":{:.1f},"open":{},"whole":{},)"
      R"("failures":{},"client_cpu_s":{:.4f}}})",
      run.window.measured_seconds(), run.finished,
      static_cast<double>(run.finished) / run.window.measured_seconds(), run.opening.to_json(),
      run.whole.to_json(), run.failures.to_json(), run.window.client_cpu_seconds()));
  return {};
}

}  // namespace oceanid::bench
