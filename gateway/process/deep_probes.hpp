#pragma once
// The worker's probes beyond the exits: each target of health.targets through each exit, and the
// address that the world sees (health.exit_ip), again and again; what they find goes to netd, which
// judges. An exit that carries nothing is asked as well, or nobody would see it come back. A target
// that has failed is asked again at once: two failures in a row are what counts. Main loop only.

#include "gateway/base/exit.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/config/config.hpp"
#include "gateway/ipc/messages.hpp"
#include "proxy/edge/deep_probe.hpp"
#include "proxy/edge/server_core.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace oceanid::process {

class DeepProbes {
 public:
  using Sink = std::function<void(const ipc::Probes&)>;

  DeepProbes(asio::io_context& io, Sink sink);

  // Replaces what was asked before.
  void apply(const Config& config, const std::shared_ptr<const proxy::Runtime>& runtime);
  // What the exits are now: their devices, and which one carries.
  void follow(const std::shared_ptr<const ExitTable>& exits);
  awaitable<void> stop();

 private:
  struct Round;
  struct Question {
    std::string exit;    // empty: by the host's own routes
    std::string target;  // as netd knows it
    proxy::DeepQuestion ask;
    std::chrono::milliseconds interval;
    std::chrono::milliseconds patience;
  };
  static awaitable<void> repeat(std::shared_ptr<Round> round, Question question);
  static awaitable<proxy::DeepAnswer> ask(const std::shared_ptr<Round>& round,
                                          const Question& question, proxy::ExitChoice exit);

  asio::io_context& io_;
  Sink sink_;
  std::shared_ptr<const ExitTable> exits_ = std::make_shared<const ExitTable>();
  std::shared_ptr<Round> round_;  // shared with its coroutines; an older round ends by itself
  TaskGroup tasks_;
};

}  // namespace oceanid::process
