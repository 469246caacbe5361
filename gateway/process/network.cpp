#include "gateway/process/network.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/exit_service.hpp"
#include "gateway/process/privilege.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/state_files.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto retry_interval = 1s;  // after a failed change of the kernel's state
constexpr auto resolved_interval = 1s;
constexpr auto settle = 5ms;  // a burst of events is one change

bool tunnels_equal(const Config& a, const Config& b) {
  return a.tunnel == b.tunnel && a.exits == b.exits && a.health == b.health &&
         underlay_mark(a) == underlay_mark(b);
}

tunnel::TunnelManager::Wanted wanted_tunnels(const Config& config) {
  tunnel::TunnelManager::Wanted out;
  out.settings = *config.tunnel;
  out.exits = config.exits;
  out.interval = config.health.interval;
  out.down_after = config.health.down_after;
  out.fwmark = underlay_mark(config);
  out.transports = transport_hosts(config);
  return out;
}

}  // namespace

Network::Network(asio::io_context& io, const Config& config, LauncherClient& launcher,
                 Events events)
    : io_(io),
      config_(config),
      events_(std::move(events)),
      transports_(
          io, launcher,
          {.listener = [this](const SocketAddress& at) { return events_.transport_listener(at); },
           .warning = [this](const std::string& text) { events_.warning("tunnel", text); }}),
      board_(config.health.hold),
      selector_(config.health.hold),
      changing_tunnels_(io.get_executor()),
      wake_(io),
      applying_(io),
      tasks_(io.get_executor()) {
  wake_.expires_at(asio::steady_timer::time_point::max());
}

Network::~Network() = default;

bool Network::privileged() const {
  return needs_privileges(config_) || !config_.exits.empty();
}

awaitable<Result<void>> Network::start(bool as_before) {
  if (!privileged()) co_return Result<void>();
  // Without it nothing is remembered; that is no reason to leave the way out open.
  if (auto made = ensure_folder(config_.state_dir, 0700); !made)
    log::error("gateway", "the state folder cannot be used", {{"error", made.error().what}});
  auto kernel = routing::LinuxKernel::open(io_.get_executor());
  if (!kernel) co_return std::unexpected(std::move(kernel.error()));
  kernel_ = std::move(*kernel);
  if (auto fits = admits(config_, own_session()); !fits) co_return fits;
  reconciler_ =
      std::make_unique<routing::Reconciler>(io_.get_executor(), *kernel_, config_.state_dir);
  start_watch();
  follow_health(config_);
  resume_former_choice();
  if (as_before && selector_.current()) taking_over_.begin();
  // The closed state first: from here on nothing leaves but through a proven exit, which the one
  // that is taken over still is.
  auto done = co_await converge();
  tunnels_due_ = config_.tunnel.has_value();
  if (auto second = co_await converge(); done) done = std::move(second);
  tasks_.spawn("network", converge_loop());
  tasks_.spawn("peers", watch_peers());
  tasks_.spawn("exit", watch_exit());
  co_return done;
}

// Which exit the kernel's egress table still names, from before a restart.
void Network::resume_former_choice() {
  if (!config_.routing) return;
  const auto actual = kernel_->read_actual();
  if (!actual) return;
  for (const auto& route : actual->routes) {
    if (route.table != config_.routing->table || route.type != routing::RouteType::unicast ||
        route.destination.length() != 0)
      continue;
    for (std::size_t i = 0; i < config_.exits.size(); ++i)
      if (route.device == device_of(config_.exits[i]))
        selector_.resume(i, std::chrono::steady_clock::now());
  }
}

// The moment from which the exit that was taken over has to prove itself: loading large sets, and
// starting what had ended, may take longer than that.
void Network::tunnels_in_hand() {
  const auto now = std::chrono::steady_clock::now();
  if ((config_.tunnel && !tunnels_) || !taking_over_.in_hand(now)) return;
  if (const auto current = selector_.current()) selector_.resume(*current, now);
}

IfName Network::device_of(const ExitSettings& exit) const {
  if (exit.peer) return tunnel::device_of_peer(*exit.peer);
  return exit.self ? config_.serve_exit->uplink : *exit.interface;
}

awaitable<Result<void>> Network::reconfigure(const Config& config) {
  const Config before = std::exchange(config_, config);
  follow_health(before);
  if (reconciler_) reconciler_->retry_offload();
  auto done = reconciler_ ? co_await change_from(before) : co_await start(false);
  if (done) co_return done;
  config_ = before;
  follow_health(config);
  // Whatever the attempt left of them; the converge loop goes on trying.
  tunnels_due_ = tunnels_due_ || !tunnels_equal(before, config);
  static_cast<void>(co_await apply_tunnels());
  mark_due();
  co_return done;
}

awaitable<Result<void>> Network::go_back(const Config& config) {
  const Config before = std::exchange(config_, config);
  follow_health(before);
  auto done = reconciler_ ? co_await change_from(before, true) : co_await start(false);
  if (!done) mark_due();
  co_return done;
}

awaitable<Result<void>> Network::change_from(Config before, bool going_back) {
  if (!tunnels_equal(before, config_)) {
    // The first tunnels meet rules that expect them.
    if (!tunnels_)
      if (auto closed = co_await converge(); !closed) co_return closed;
    tunnels_due_ = true;
  } else if (tunnels_ && !tunnels_due_) {
    // Keys and certificates may be others under the same names. Keys that cannot be read keep no
    // configuration from coming back; admits() refuses a new one.
    tunnels_due_ = tunnels_->other_keys_on_disk().value_or(false);
    if (!tunnels_due_) {
      auto transports = transports_.apply(config_, *tunnels_);
      if (!transports && going_back) static_cast<void>(co_await converge());
      if (!transports) co_return transports;
    }
  }
  co_return co_await converge();
}

// Makes the tunnels match config_; an error leaves them due.
awaitable<Result<void>> Network::apply_tunnels() {
  const auto guard = co_await changing_tunnels_.acquire();
  if (!tunnels_due_) co_return Result<void>();
  tunnels_due_ = false;
  Result<void> done = {};
  if (config_.tunnel) {
    if (!tunnels_) {
      tunnels_ = std::make_unique<tunnel::TunnelManager>(
          io_.get_executor(),
          tunnel::TunnelManager::Options{.state_dir = config_.state_dir,
                                         .run_dir = config_.run_dir.value_or(config_.state_dir)});
      tunnels_->set_on_change([this] { mark_due(); });
      if (!clock_) clock_.emplace(config_.state_dir);
    }
    done = co_await tunnels_->apply(wanted_tunnels(config_));
    if (done) done = transports_.apply(config_, *tunnels_);
  } else if (tunnels_) {
    transports_.forget();
    done = co_await tunnels_->remove_all();
    tunnels_.reset();
  }
  if (!done) tunnels_due_ = true;
  co_return done;
}

void Network::resolved(const std::string& name, const std::vector<IpAddress>& addresses) {
  const auto asked = endpoint_names();
  if (std::ranges::find(asked, name) == asked.end()) return;
  // News is written to disk: a worker that has turned against us must not keep us at that.
  const auto now = std::chrono::steady_clock::now();
  const auto [last, first] = resolved_at_.try_emplace(name, now);
  if (!first && now - last->second < resolved_interval) return;
  last->second = now;
  tunnels_->set_resolved(name, addresses);
}

std::vector<std::string> Network::endpoint_names() const {
  return tunnels_ ? tunnels_->names_to_resolve() : std::vector<std::string>();
}

std::vector<std::string> Network::names_in_doubt() const {
  return tunnels_ ? tunnels_->names_in_doubt() : std::vector<std::string>();
}

void Network::mark_due() {
  due_ = true;
  wake_.cancel();
}

awaitable<void> Network::converge_loop() {
  while (!stopping_) {
    if (!due_) {
      wake_.expires_at(next_look());
      auto [ec] = co_await wake_.async_wait(as_result);
      if (!ec) due_ = true;
      continue;
    }
    if (!repair_is_due()) co_await sleep_for(settle);
    due_ = false;
    if (auto done = co_await converge(); !done) {
      log::error("routing", "the network state could not be brought up; trying again",
                 {{"error", done.error().what}});
      co_await sleep_for(retry_interval);
      due_ = true;
    }
  }
}

// An error of the tunnels keeps nothing else from what is right.
awaitable<Result<void>> Network::converge() {
  auto tunnels = co_await apply_tunnels();
  tunnels_in_hand();
  if (watch_) watch_->begin_repair();
  auto facts = kernel_->facts();
  if (!facts) co_return std::unexpected(std::move(facts.error()));
  facts_ = std::move(*facts);
  if (tunnels_) tunnels_->set_exit_word(exit_word());
  update_exits();
  watch_snat_addresses();
  // An ordinary user's exits: sockets are bound to them, and that is all that can be done.
  if (!has_capability(CAP_NET_ADMIN)) co_return tunnels;
  routing_view_.enabled =
      config_.routing.has_value() || config_.serve_exit.has_value() || intercepts(config_);
  routing::Inputs now = inputs();
  offload_after_flows(now);
  const routing::NetworkState desired = routing::plan(now);
  if (watch_) watch_->expect(desired, facts_);
  const auto switching = switching_since_;
  applying_.cancel();
  auto applied = co_await reconciler_->apply(desired);
  routing_view_.in_force = applied.has_value();
  routing_view_.error = applied ? std::string() : applied.error().what;
  if (!applied) {
    if (watch_) watch_->failed();
    if (routing_view_.applies == 0) co_await close_without_plan();
    co_return std::unexpected(std::move(applied.error()));
  }
  // Another exit that was chosen meanwhile, and what the former one carried, are the next one's.
  if (switching_since_ == switching) note_switch_done();
  if (!applied->overtaken) co_await keep_flows(desired);
  note_offload();
  ++routing_view_.applies;
  routing_view_.changes += applied->changes;
  if (applied->changes > 0) {
    routing_view_.last_apply_seconds = std::chrono::duration<double>(applied->took).count();
    for (const auto& warning : applied->warnings)
      log::warn("routing", warning);
    for (const auto& skipped : applied->skipped)
      log::debug("routing", "skipped: " + skipped);
  }
  note_drift(applied->drift);
  keep_guard();
  co_await serve(applied->nft);
  co_return tunnels;
}

// A plan that fails leaves what was there before; at a start that may be nothing. The kill switch
// alone asks less of the kernel.
awaitable<void> Network::close_without_plan() {
  if (auto closed = co_await reconciler_->apply(routing::guard_plan(inputs())); !closed)
    log::error("routing", "not even the kill switch could be installed: traffic is NOT held back",
               {{"error", closed.error().what}});
}

// The closed state of this configuration, for `oceanid guard` at the next boot.
void Network::keep_guard() {
  const routing::Inputs now = inputs();
  const routing::NetworkState guard = routing::guard_plan(now);
  if (kept_guard_ == guard) return;
  // Without a line at the moment there is nothing to close; the next boot may have one again.
  if ((now.uplinks.empty() || guard_held_) && reconciler_->load_last_good()) return;
  if (auto saved = reconciler_->save_last_good(guard); !saved) {
    if (!std::exchange(guard_unkept_, true))
      log::warn("routing", "the closed state could not be kept for `oceanid guard`",
                {{"error", saved.error().what}});
    return;
  }
  guard_unkept_ = false;
  kept_guard_ = guard;
}

std::vector<tunnel::TunnelStatus> Network::tunnels() const {
  if (tunnels_) return tunnels_->status();
  return taking_over_.from_found() ? found_tunnels(config_, facts_) : planned_tunnels(config_);
}

routing::Inputs Network::inputs() const {
  auto out =
      routing_inputs(config_, facts_, tunnels(),
                     tunnels_ ? tunnels_->peer_endpoints() : std::vector<SocketAddress>(), exits_);
  out.draining = draining_;
  if (taking_over_.lasts(std::chrono::steady_clock::now()))
    for (auto& exit : out.exits)
      exit.usable |= exit.tunnel && exit.present;
  return out;
}

std::vector<IpAddress> Network::local_addresses() const {
  return local_addresses_of(facts_);
}

awaitable<Result<std::string>> Network::plan(Config config) {
  if (!reconciler_) co_return std::string("nothing to change\n");
  co_return co_await reconciler_->plan(routing::plan(inputs_of(config)));
}

awaitable<Result<std::string>> Network::down() {
  if (!reconciler_) co_return std::string("nothing of ours is in the kernel");
  // A wireguard-go that is just being started can be found, and ended, only when it has started.
  const auto guard = co_await changing_tunnels_.acquire();
  co_await stop();
  if (tunnels_) {
    if (auto removed = co_await tunnels_->remove_all(); !removed)
      co_return std::unexpected(std::move(removed.error()));
  }
  auto report = co_await reconciler_->down();
  if (!report) co_return std::unexpected(std::move(report.error()));
  exits_ = {};
  findings_.clear();
  events_.exits_changed(exits_);
  std::string text =
      fmt::format("everything of ours is gone from the kernel ({} changes)", report->changes);
  for (const auto& kept : report->kept)
    text += "\n" + kept;
  co_return text;
}

awaitable<void> Network::stop() {
  stopping_ = true;
  wake_.cancel();
  applying_.cancel();
  if (watch_) co_await watch_->stop();
  watch_.reset();
  if (exit_service_) co_await exit_service_->stop();
  co_await tasks_.stop();
  if (flows_) co_await flows_->stop();
  flows_.reset();
  co_await transports_.stop();
  if (tunnels_) co_await tunnels_->stop(/*keep_devices=*/true);
  if (clock_) clock_->keep();
}

}  // namespace oceanid::process
