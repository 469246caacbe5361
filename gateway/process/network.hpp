#pragma once
// netd's privileged half: keeps tunnels, routes, rules, nftables and the choice of the exit in step
// with the configuration and with what happens (a link goes, a tunnel stops answering, a name
// resolves to another address). One coroutine converges: observe → compute the desired state →
// apply; whatever changes only marks it as due. Fail-closed: the closed state is applied before any
// tunnel exists. Lives on netd's event loop.

#include "gateway/base/exit.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/config/config.hpp"
#include "gateway/ipc/drill.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "gateway/process/clock_guard.hpp"
#include "gateway/process/routed_flows.hpp"
#include "gateway/process/take_over.hpp"
#include "gateway/process/tunnel_transports.hpp"
#include "proxy/core/explanation.hpp"
#include "routing/core/conntrack_figures.hpp"
#include "routing/core/plan.hpp"
#include "routing/edge/drift_watch.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/reconciler.hpp"
#include "tunnel/core/deep_book.hpp"
#include "tunnel/core/exit_select.hpp"
#include "tunnel/core/health_board.hpp"
#include "tunnel/edge/async_lock.hpp"
#include "tunnel/edge/manager.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::process {

class ExitService;

class Network {
 public:
  struct Events {
    std::function<void(const ExitTable&)> exits_changed;
    // Both are logged by whoever hears them.
    std::function<void(std::string area, std::string text)> event;
    std::function<void(std::string area, std::string text)> warning;
    std::function<void()> peers_changed;  // one is reached, or not any more
    // A copy of the socket that listens there (tunnel.tls.bind).
    std::function<Result<UniqueFd>(const SocketAddress&)> transport_listener;
  };

  Network(asio::io_context& io, const Config& config, LauncherClient& launcher, Events events);
  ~Network();

  // Brings everything up for the first time. After an error we go on trying, as long as
  // keeps_trying() says so; the closed state stands as far as the kernel took it. `as_before`: with
  // the very configuration that a former life had in force.
  awaitable<Result<void>> start(bool as_before);
  bool keeps_trying() const { return tasks_.size() > 0; }
  // Switches to another configuration; an error leaves the former one in force.
  awaitable<Result<void>> reconfigure(const Config& config);
  // The same to one that was in force; an error keeps nothing of it from the kernel that can be
  // had, and the rest is tried again.
  awaitable<Result<void>> go_back(const Config& config);
  // While true, what is kept for `oceanid guard` stays as it is (unless there is nothing yet).
  void keep_guard_as_it_is(bool held) { guard_held_ = held; }
  // What the worker's probes have found; what was not asked is ignored.
  void probed(const ipc::Probes& probes);
  void resolved(const std::string& name, const std::vector<IpAddress>& addresses);
  std::vector<std::string> endpoint_names() const;
  std::vector<std::string> names_in_doubt() const;  // of these: the tunnel does not answer

  const ExitTable& exits() const { return exits_; }
  void describe(ipc::GatewaySnapshot& out);
  // How TCP from this node's pods to the first of the addresses leaves; empty: not ours to say.
  std::string routed(const std::string& from, const std::vector<proxy::ExplainedAddress>& to,
                     std::uint16_t port) const;
  std::vector<IpAddress> local_addresses() const;

  // Whether the configuration fits this host and leaves the operator's session alone; an error says
  // what does not, as far as that is not true of the one in force already.
  Result<void> admits(const Config& config,
                      const std::optional<routing::ControlConnection>& operator_session);
  std::vector<std::string> contradictions(
      const Config& config, const std::optional<routing::ControlConnection>& operator_session);

  // `oceanid keys rotate` (network_keys.cpp).
  awaitable<Result<std::string>> rotate_key(tunnel::TunnelManager::RotateRequest request);

  // `oceanid drill failover` (network_drill.cpp).
  awaitable<Result<ipc::DrillView>> drill();

  // What the change to `config` would do to the kernel, as text; changes nothing.
  awaitable<Result<std::string>> plan(Config config);

  // Removes every trace from the kernel; a sentence that says what was removed.
  awaitable<Result<std::string>> down();
  // Ends our work; the kernel's state stays as it is and fails closed.
  awaitable<void> stop();

 private:
  bool privileged() const;  // the configuration has anything for the kernel
  awaitable<void> converge_loop();
  awaitable<Result<void>> converge();
  awaitable<Result<void>> change_from(Config before, bool going_back = false);
  awaitable<Result<void>> apply_tunnels();
  void update_exits();
  void warn(const std::string& text);
  std::uint64_t counted_anew(const char* counter);  // since it was last asked
  void watch_connections(ipc::GatewaySnapshot& out);
  void watch_snat_addresses();
  std::optional<tunnel::ExitWord> exit_word() const;
  awaitable<void> serve(bool sets_are_new);
  void resume_former_choice();
  void tunnels_in_hand();
  awaitable<void> watch_exit();  // network_switch.cpp
  bool leave_lost_exit();
  IfName device_of(const ExitSettings& exit) const;
  void mark_due();
  void start_watch();  // network_drift.cpp
  void on_host_change();
  void note_drift(const std::vector<routing::Drift>& drift);
  void describe_drift();
  void describe_key(ipc::GatewaySnapshot& out) const;
  std::chrono::steady_clock::time_point next_look() const;
  bool repair_is_due() const;
  void keep_guard();
  std::optional<std::size_t> drain_first(std::optional<std::size_t> chosen, const ExitTable& next);
  awaitable<void> keep_flows(const routing::NetworkState& state);
  std::optional<IfName> egress_device(const routing::NetworkState& state) const;
  bool flows_settled() const;
  void offload_after_flows(routing::Inputs& inputs);
  void note_offload();
  awaitable<void> close_without_plan();
  void use(const Config& config);
  std::vector<tunnel::TunnelStatus> tunnels() const;
  routing::Inputs inputs() const;
  routing::Inputs inputs_of(const Config& config) const;
  // The health of the exits: network_health.cpp.
  void follow_health(const Config& before);
  ExitTable judge_exits();
  void refresh_health();
  void note_changes(const std::vector<tunnel::HealthState>& before);
  void note_switch_done();
  void describe_health(ipc::GatewaySnapshot& out);
  void describe_peers(ipc::GatewaySnapshot& out) const;  // network_peers.cpp
  awaitable<void> watch_peers();
  Result<std::string> drillable() const;
  tunnel::ExitFindings findings_of(const ExitSettings& exit,
                                   const std::vector<tunnel::TunnelStatus>& tunnels) const;
  ExitState state_of(const ExitSettings& exit, const tunnel::ExitFindings& found) const;
  void describe_transport(ipc::TunnelView& view, const tunnel::TunnelStatus& status,
                          const tunnel::PeerStatus& peer) const;

  asio::io_context& io_;
  Config config_;
  Events events_;
  std::unique_ptr<routing::LinuxKernel> kernel_;
  std::unique_ptr<routing::Reconciler> reconciler_;
  std::unique_ptr<RoutedFlows> flows_;
  std::optional<std::size_t> draining_;  // this exit's connections go on after a planned switch
  bool pin_due_ = false;                 // they are not marked yet; the switch waits for that
  bool offload_held_ = false;            // the flowtable waits until flows_settled()
  std::string offload_error_;            // why the kernel has none
  std::string offload_said_;             // and said so
  std::unique_ptr<routing::DriftWatch> watch_;
  std::unique_ptr<tunnel::TunnelManager> tunnels_;
  TunnelTransports transports_;
  tunnel::HealthBoard board_;
  tunnel::DeepBook deep_;
  tunnel::ExitSelector selector_;
  TakeOver taking_over_;
  std::vector<tunnel::ExitFindings> findings_;        // of each exit, as last looked at
  std::vector<tunnel::ExitCandidate> candidates_;     // what the selector is asked about
  std::vector<tunnel::ExitCandidate> chosen_from_;    // and was asked last
  std::optional<ClockGuard> clock_;                   // as soon as there are tunnels
  std::string diagnosis_code_;                        // as last told
  std::optional<tunnel::TimePoint> switching_since_;  // a failover: the former exit's last answer
  std::optional<double> failover_seconds_;
  ExitTable exits_;
  routing::HostFacts facts_;
  std::map<std::pair<std::string, std::string>, ipc::FailoverView> failovers_;
  std::map<std::string, std::chrono::steady_clock::time_point> resolved_at_;  // by name
  ipc::RoutingView routing_view_;
  std::map<std::string, std::uint64_t> counters_seen_;  // of our table, as last read
  std::uint64_t clients_refused_ = 0;
  std::optional<routing::NetworkState> kept_guard_;
  bool guard_held_ = false;
  bool guard_unkept_ = false;  // and said so
  routing::ConntrackWatch conntrack_watch_;
  std::unique_ptr<ExitService> exit_service_;
  std::vector<IpAddress> snat_missing_;  // from this node; and said so
  bool due_ = true;
  bool tunnels_due_ = false;             // the tunnels do not match config_ yet
  tunnel::AsyncLock changing_tunnels_;   // held while a manager is made, told, or given up
  std::map<std::string, bool> reached_;  // peers, as last told
  bool drilling_ = false;
  bool stopping_ = false;
  asio::steady_timer wake_;
  asio::steady_timer applying_;  // cancelled when a change of the kernel's state begins
  TaskGroup tasks_;
};

}  // namespace oceanid::process
