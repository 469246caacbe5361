#pragma once
// netd's hold on its worker: asks the launcher for one, hands it listening sockets, configuration,
// exit states and snapshots, and starts the next one when it ends (at once the first time, then
// with backoff up to 5 s). The listening sockets stay open here, so nobody is refused in between.
// Lives on netd's event loop.

#include "gateway/base/exit.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/ipc/channel.hpp"
#include "gateway/ipc/messages.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "gateway/process/launcher_client.hpp"
#include "gateway/process/listeners.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::process {

// Everything that a worker needs to serve one configuration; kept for the worker's successors.
struct WorkerConfiguration {
  ipc::Configure message;
  std::string text;  // the YAML
  std::string user;
  std::vector<WantedListener> listeners;
  std::vector<UniqueFd> files;  // in the order of message.files
};

// The question whose arguments are an ipc::Configure with its descriptors.
inline constexpr std::string_view check_question = "check";

class WorkerSupervisor {
 public:
  struct Events {
    std::function<void(const ipc::Resolved&)> resolved;
    std::function<void(const ipc::Probes&)> probes;
    std::function<void(const ipc::Counters&)> counters;
    std::function<void(const ipc::Ready&)> ready;
    std::function<void(std::string why)> ended;
    std::function<void()> stranded;  // no worker, and no launcher to start another
  };

  WorkerSupervisor(asio::io_context& io, LauncherClient& launcher, const ListenerSet& listeners,
                   Events events);

  void start(WorkerConfiguration configuration);
  // Whether the worker could serve it (certificates, password files); nothing changes.
  awaitable<Result<void>> check(const WorkerConfiguration& configuration);
  void reconfigure(WorkerConfiguration configuration);
  void send_exits(const ExitTable& exits);
  void send_snapshot(const ipc::GatewaySnapshot& snapshot);
  // `urgent`: those of tunnels that do not answer. Sent when it is news.
  void request_names(const std::vector<std::string>& names, const std::vector<std::string>& urgent);

  // What only the worker knows. An error when there is no worker, it ends, or does not answer.
  awaitable<Result<boost::json::value>> ask(std::string command, boost::json::value arguments,
                                            std::vector<UniqueFd> fds = {});

  bool ready() const { return ready_; }
  std::uint64_t restarts() const { return restarts_; }
  // Tells the worker to finish and waits until it has ended or `patience` is over.
  awaitable<bool> drain(std::chrono::milliseconds patience);
  awaitable<void> stop();

 private:
  awaitable<void> run_workers();
  awaitable<void> serve(std::shared_ptr<ipc::Channel> channel);
  Result<std::shared_ptr<ipc::Channel>> launch();
  bool send_configuration(ipc::Channel& channel);
  bool send_listeners(ipc::Channel& channel);
  void send(std::string_view type, boost::json::value body, std::vector<UniqueFd> fds = {});
  static Result<std::vector<UniqueFd>> attachments(const WorkerConfiguration& configuration);
  bool dispatch(const ipc::Frame& frame);
  bool take_answer(const boost::json::value& body);
  void fail_questions();

  // A question under way; lives in the frame of its ask().
  struct Pending {
    explicit Pending(asio::io_context& io) : answered(io) {}
    asio::steady_timer answered;  // cancelled by the answer
    std::optional<Result<boost::json::value>> answer;
  };

  asio::io_context& io_;
  LauncherClient& launcher_;
  const ListenerSet& listeners_;
  Events events_;
  WorkerConfiguration configuration_;
  boost::json::value exits_;
  boost::json::value names_;
  std::shared_ptr<ipc::Channel>
      worker_;                  // shared with the running serve(), which may outlive a replace
  std::uint64_t answered_ = 0;  // generation of the last `ready` of this worker
  bool ready_ = false;
  bool draining_ = false;
  std::uint64_t restarts_ = 0;
  std::map<std::uint64_t, Pending*> questions_;
  std::uint64_t last_question_ = 0;
  asio::steady_timer ended_;  // cancelled when a worker's channel has closed
  TaskGroup writers_;
  TaskGroup tasks_;
};

}  // namespace oceanid::process
