#pragma once
// netd: the privileged parent. Owns the configuration in force, the listening sockets, the network
// state and the worker's life; answers the control socket and signals. One thread, one loop, never
// waits.
//
//   SIGTERM, SIGINT   drain, then exit 0; a second one exits at once
//   SIGHUP            read the configuration again; so does a change of a file it is made of
//   SIGUSR2           become the binary on disk, descriptors kept; refused if that cannot start

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/config/load.hpp"
#include "gateway/process/config_memory.hpp"
#include "gateway/process/control.hpp"
#include "gateway/process/journal.hpp"
#include "gateway/process/launcher_client.hpp"
#include "gateway/process/listeners.hpp"
#include "gateway/process/network.hpp"
#include "gateway/process/service_manager.hpp"
#include "gateway/process/watched_files.hpp"
#include "gateway/process/worker_supervisor.hpp"

#include <chrono>
#include <optional>
#include <string>

#include <boost/asio/signal_set.hpp>

namespace oceanid::process {

class Netd {
 public:
  // `program`: the path of the binary that SIGUSR2 executes.
  Netd(asio::io_context& io, StartConfig start, ConfigMemory memory, UniqueFd launcher,
       ListenerSet listeners, bool privileged, std::string program);

  void start();
  int exit_code() const { return exit_code_; }
  // Set when the process is to be replaced by execve: the event loop has ended in order.
  bool upgrade_requested() const { return upgrade_; }
  const ListenerSet& listeners() const { return listeners_; }
  int launcher_fd() const { return launcher_.fd(); }

 private:
  awaitable<void> run();
  awaitable<void> signals();
  awaitable<void> tick();
  awaitable<Result<boost::json::value>> ask_worker(std::string name, boost::json::value arguments);
  awaitable<Result<boost::json::value>> command(std::string name, boost::json::value arguments);
  awaitable<std::string> forbidden_now(bool cut);
  enum class Cause { command, signal, file };  // of a reload
  awaitable<Result<std::string>> reload(
      Cause cause, std::optional<routing::ControlConnection> operator_session = std::nullopt);
  awaitable<void> reload_unasked(Cause cause);
  awaitable<Result<void>> begin_change();
  awaitable<Result<void>> take_into_use(LoadedConfig fresh,
                                        std::optional<routing::ControlConnection> operator_session);
  void in_force(LoadedConfig fresh, std::optional<WorkerConfiguration> for_worker);
  // The probation of a change (routing.confirm): netd_probation.cpp.
  std::chrono::milliseconds probation_of(const Config& next) const;
  void expect(const std::string& record);
  std::string begin_probation(LoadedConfig before, std::chrono::milliseconds patience);
  bool probation_is_over() const;
  double seconds_left() const;
  void keep_as_good();
  Result<std::string> confirm();
  awaitable<void> roll_back();
  Result<void> prepare_upgrade();
  awaitable<void> upgrade();
  awaitable<void> shut_down(std::string why);
  void give_up(std::string_view why);
  awaitable<Result<boost::json::value>> down();
  Result<WorkerConfiguration> worker_configuration(const LoadedConfig& loaded,
                                                   std::uint64_t generation) const;
  void exits_changed(const ExitTable& exits);
  void worker_ready(const ipc::Ready& ready);
  ipc::GatewaySnapshot snapshot();
  Result<UniqueFd> transport_listener(const SocketAddress& bind) const;
  void store_listeners();
  void drop_listeners();

  asio::io_context& io_;
  LoadedConfig loaded_;
  ConfigMemory memory_;
  std::string configuration_error_;  // why the file is not what is in force
  ListenerSet listeners_;
  bool privileged_;
  std::string program_;
  Journal journal_;
  ServiceManager manager_;
  LauncherClient launcher_;
  Network network_;
  WorkerSupervisor worker_;
  WatchedFiles files_;  // what the configuration was read from
  ControlServer control_;
  asio::signal_set signals_;
  TaskGroup tasks_;
  ipc::Counters counters_;
  std::string connector_id_;
  std::string started_;
  std::optional<LoadedConfig> start_from_;  // of a start that is to be on probation
  std::optional<LoadedConfig> former_;      // while a change is on probation: what it goes back to
  std::chrono::steady_clock::time_point confirm_by_;
  std::string gone_back_;  // what became of the last change that was not confirmed
  std::string unkept_;     // why what stands could not be written to state_dir
  std::uint64_t rollbacks_ = 0;
  std::uint64_t generation_ = 1;
  std::uint32_t cores_;
  bool served_ = false;     // a worker has taken a configuration
  bool starting_ = true;    // the network is being brought up for the first time
  bool changing_ = false;   // a reload or a take-down is under way
  bool following_ = false;  // that change is one that nobody waits for
  bool stopping_ = false;
  bool upgrade_ = false;
  int exit_code_ = 0;
};

// Event loops for a configuration: proxy.workers, or one per core that this process may use.
std::uint32_t core_count(const Config& config);

}  // namespace oceanid::process
