#include "gateway/process/netd.hpp"

#include "gateway/admin/handlers.hpp"
#include "gateway/base/runtime/log.hpp"
#include "gateway/ipc/connections.hpp"
#include "gateway/ipc/policy_answers.hpp"
#include "gateway/process/logging.hpp"
#include "gateway/process/run.hpp"
#include "gateway/process/secret_files.hpp"
#include "gateway/process/state_files.hpp"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto tick_interval = 1s;
constexpr int progress_ticks = 5;
constexpr auto drain_margin = 5s;  // beyond timeouts.drain, for the worker's own goodbye

const boost::json::value* argument(const boost::json::value& arguments, std::string_view name) {
  const auto* object = arguments.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

bool flag(const boost::json::value& arguments, std::string_view name) {
  const auto* value = argument(arguments, name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

// Where the operator who asks is connected from, when that is by SSH.
std::optional<routing::ControlConnection> session_of(const boost::json::value& arguments) {
  const auto* value = argument(arguments, "ssh");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return routing::ControlConnection::parse(
      {value->get_string().data(), value->get_string().size()});
}

}  // namespace

std::uint32_t core_count(const Config& config) {
  if (config.proxy.workers > 0) return config.proxy.workers;
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (::sched_getaffinity(0, sizeof usable, &usable) == 0)
    return static_cast<std::uint32_t>(std::max(1, CPU_COUNT(&usable)));
  return std::max(1U, std::thread::hardware_concurrency());
}

Netd::Netd(asio::io_context& io, StartConfig start, ConfigMemory memory, UniqueFd launcher,
           ListenerSet listeners, bool privileged, std::string program)
    : io_(io),
      loaded_(std::move(start.loaded)),
      memory_(std::move(memory)),
      configuration_error_(std::move(start.passed_over)),
      listeners_(std::move(listeners)),
      privileged_(privileged),
      program_(std::move(program)),
      launcher_(io, std::move(launcher)),
      network_(io, *loaded_.config, launcher_,
               {.exits_changed = [this](const ExitTable& exits) { exits_changed(exits); },
                .event = [this](const std::string& area,
                                const std::string& text) { journal_.add(area, text); },
                .warning =
                    [this](const std::string& area, const std::string& text) {
                      journal_.add(area, text, log::Level::warn);
                    },
                .peers_changed = [this] { worker_.send_snapshot(snapshot()); },
                .transport_listener =
                    [this](const SocketAddress& bind) { return transport_listener(bind); }}),
      worker_(
          io, launcher_, listeners_,
          {.resolved = [this](const ipc::Resolved& r) { network_.resolved(r.name, r.addresses); },
           .probes = [this](const ipc::Probes& probes) { network_.probed(probes); },
           .counters = [this](const ipc::Counters& c) { counters_ = c; },
           .ready = [this](const ipc::Ready& ready) { worker_ready(ready); },
           .ended = [this](const std::string& why) { journal_.add("gateway", why); },
           .stranded = [this] { give_up("no worker runs and none can be started"); }}),
      control_(io,
               [this](std::string name, boost::json::value arguments) {
                 return command(std::move(name), std::move(arguments));
               }),
      signals_(io, SIGTERM, SIGINT, SIGHUP),
      tasks_(io.get_executor()),
      started_(now_text()),
      cores_(core_count(*loaded_.config)) {
  signals_.add(SIGUSR2);
  if (!configuration_error_.empty())
    journal_.add("gateway", configuration_error_, log::Level::error);
  start_from_ = std::move(start.former);
}

void Netd::start() {
  launcher_.start();
  tasks_.spawn("netd", run());
  tasks_.spawn("signals", signals());
}

awaitable<void> Netd::run() {
  const Config& config = *loaded_.config;
  connector_id_ = load_or_create_connector_id(config.state_dir);
  if (config.run_dir) {
    const auto path = *config.run_dir + "/" + std::string(control_socket_name);
    auto opened = ensure_folder(*config.run_dir, 0750);
    if (opened) opened = control_.open(path);
    if (!opened && opened.error().code == Errc::already_exists) {
      give_up(opened.error().what);
      co_return;
    }
    if (!opened)
      log::warn("gateway", "no control socket: status, reload and drain are not available",
                {{"error", opened.error().what}});
  } else {
    log::warn("gateway", "no run_dir: there is no control socket for status, reload and drain");
  }
  if (start_from_) expect(to_record(loaded_));
  auto up = co_await network_.start(to_record(loaded_) == memory_.last_good());
  if (!up) {
    // The closed state stands; the proxy answers with the reason while we go on trying.
    log::error("routing", "the network state could not be brought up; trying again",
               {{"error", up.error().what}});
    if (!network_.keeps_trying()) {
      if (up.error().code == Errc::invalid_argument) {
        exit_code_ = 2;
        io_.stop();
        co_return;
      }
      give_up("nothing can be said to the kernel");
      co_return;
    }
  }
  if (start_from_) {
    const auto patience = probation_time(*start_from_->config, config);
    begin_probation(std::move(*start_from_), patience);
    start_from_.reset();
  } else if (up && configuration_error_.empty()) {
    keep_as_good();
  }
  auto for_worker = worker_configuration(loaded_, generation_);
  if (!for_worker) {
    give_up(for_worker.error().what);
    co_return;
  }
  worker_.start(std::move(*for_worker));
  worker_.send_exits(network_.exits());
  worker_.request_names(network_.endpoint_names(), network_.names_in_doubt());
  store_listeners();
  files_.watch({loaded_.path});
  files_.watch(all_secret_files(config));
  files_.watch(list_files(config));
  tasks_.spawn("tick", tick());
  starting_ = false;
}

// Ends in failure, at once: whoever started us starts us again. The kernel's state stays.
void Netd::give_up(std::string_view why) {
  log::error("gateway", why);
  exit_code_ = 1;
  io_.stop();
}

awaitable<void> Netd::tick() {
  int stopping_for = 0;
  for (;;) {
    co_await sleep_for(tick_interval);
    worker_.send_snapshot(snapshot());
    if (!changing_) worker_.request_names(network_.endpoint_names(), network_.names_in_doubt());
    if (!changing_ && !stopping_ && probation_is_over())
      tasks_.spawn("roll back", roll_back());
    else if (!changing_ && !stopping_ && files_.changed())
      tasks_.spawn("reload", reload_unasked(Cause::file));
    if (stopping_ && ++stopping_for % progress_ticks == 0)
      log::info("gateway", "draining", {{"tunnels_open", std::to_string(counters_.tunnels_open)}});
  }
}

awaitable<void> Netd::signals() {
  for (;;) {
    auto [ec, number] = co_await signals_.async_wait(as_result);
    if (ec) co_return;
    if (number == SIGHUP) {
      // A reload takes its time; the next signal does not wait for it.
      tasks_.spawn("reload", reload_unasked(Cause::signal));
    } else if (number == SIGUSR2) {
      tasks_.spawn("upgrade", upgrade());
    } else if (stopping_) {
      log::warn("gateway", "second signal: not waiting for open connections");
      io_.stop();
    } else {
      tasks_.spawn("shutdown", shut_down(fmt::format("signal {}", number)));
    }
  }
}

// Answered by the worker, passed on by us: it holds the tunnels and the names.
constexpr std::string_view worker_commands[] = {"connections", "kill", "explain", "suggest"};

// The worker explains the proxy; how a packet that asks nobody leaves is known here.
awaitable<Result<boost::json::value>> Netd::ask_worker(std::string name,
                                                       boost::json::value arguments) {
  const bool explains = name == "explain";
  auto answer = co_await worker_.ask(std::move(name), std::move(arguments));
  if (!answer || !explains) co_return answer;
  auto explained = ipc::decode<proxy::Explanation>(*answer, "explain");
  if (!explained) co_return answer;
  explained->routed = network_.routed(explained->from, explained->addresses, explained->port);
  co_return boost::json::value_from(*explained);
}

awaitable<Result<boost::json::value>> Netd::command(std::string name,
                                                    boost::json::value arguments) {
  if (std::ranges::find(worker_commands, name) != std::end(worker_commands))
    co_return co_await ask_worker(std::move(name), std::move(arguments));
  if (name == "status") co_return boost::json::value_from(snapshot());
  if (name == "down") co_return co_await down();
  if (name == "plan") {
    if (starting_) co_return fail(Errc::closed, "the gateway is still starting");
    const LoadedConfig fresh = load_config(loaded_.path);
    if (!fresh.config) co_return fail(Errc::invalid_argument, all_problems(fresh));
    std::string out;
    for (const auto& sentence : network_.contradictions(*fresh.config, session_of(arguments)))
      out += "warning: " + sentence + "\n";
    auto text = co_await network_.plan(*fresh.config);
    if (!text) co_return std::unexpected(std::move(text.error()));
    co_return boost::json::value(out + *text);
  }
  if (name == "confirm") {
    auto kept = confirm();
    if (!kept) co_return std::unexpected(std::move(kept.error()));
    co_return boost::json::value(*kept);
  }
  if (name == "rotate") {
    auto text = co_await network_.rotate_key(
        {.abandon = flag(arguments, "abandon"), .force = flag(arguments, "force")});
    if (!text) co_return std::unexpected(std::move(text.error()));
    co_return boost::json::value(*text);
  }
  if (name == "drill") {
    auto found = co_await network_.drill();
    if (!found) co_return std::unexpected(std::move(found.error()));
    co_return boost::json::value_from(*found);
  }
  if (name == "drain") {
    tasks_.spawn("shutdown", shut_down("asked to drain"));
    co_return "draining: no new connections; this process ends when the last one has";
  }
  if (name == "reload") {
    auto done = co_await reload(Cause::command, session_of(arguments));
    if (!done) co_return std::unexpected(std::move(done.error()));
    co_return boost::json::value(*done + co_await forbidden_now(flag(arguments, "cut")));
  }
  co_return fail(
      Errc::invalid_argument,
      fmt::format("unknown command \"{}\"; there are status, plan, reload, confirm, rotate, drill, "
                  "drain, down",
                  name));
}

awaitable<Result<boost::json::value>> Netd::down() {
  if (auto begun = co_await begin_change(); !begun)
    co_return std::unexpected(std::move(begun.error()));
  auto removed = co_await network_.down();
  changing_ = false;
  if (!removed) {
    // Half of it is gone and nobody looks after the rest: the next life puts it in order.
    exit_code_ = 1;
    tasks_.spawn("shutdown", shut_down("taking everything down has failed"));
    co_return std::unexpected(std::move(removed.error()));
  }
  tasks_.spawn("shutdown", shut_down("asked to take everything down"));
  co_return boost::json::value(*removed);
}

// The tunnels that the configuration now in force would not open, in lines for the operator.
awaitable<std::string> Netd::forbidden_now(bool cut) {
  constexpr std::size_t most_shown = 50;
  const auto answer = co_await worker_.ask("forbidden", boost::json::value(cut));
  if (!answer) co_return std::string();
  const auto list = ipc::decode<proxy::ConnectionList>(*answer, "forbidden");
  if (!list || list->matching == 0) co_return std::string();
  std::string out =
      fmt::format("\n{} of {} open tunnels are forbidden now{}:", list->matching, list->open,
                  cut ? " and have been reset" : " and go on (reload --cut ends them)");
  const auto shown = std::min(list->connections.size(), most_shown);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& one = list->connections[i];
    out += fmt::format("\n  {}  {} -> {}  by {}", one.id, one.source,
                       HostPort{one.host, one.port}.to_string(), one.rule);
  }
  if (list->matching > shown) out += fmt::format("\n  … and {} more", list->matching - shown);
  journal_.add("gateway", fmt::format("{} open tunnels are forbidden by the new configuration{}",
                                      list->matching, cut ? "; reset" : ""));
  co_return out;
}

// What the next life would fail at: better found while this one can go on.
Result<void> Netd::prepare_upgrade() {
  if (former_)
    return fail(Errc::invalid_argument,
                "a change waits for its confirmation; `oceanid confirm` it, or let it go back");
  if (::access(program_.c_str(), X_OK) != 0) return fail_errno("execute " + program_);
  const LoadedConfig fresh = load_config(loaded_.path);
  if (!fresh.config) return fail(Errc::invalid_argument, all_problems(fresh));
  if (needs_privileges(*fresh.config) && !privileged_)
    return fail(
        Errc::permission,
        "tunnel, routing, serve_exit and intercept need NET_ADMIN, which this gateway gave up; "
        "restart it");
  return listeners_.open(wanted_listeners(*fresh.config, core_count(*fresh.config)));
}

awaitable<void> Netd::upgrade() {
  auto begun = co_await begin_change();
  if (begun) {
    changing_ = false;
    begun = prepare_upgrade();
  }
  if (!begun) {
    log::error("gateway", "upgrade refused; what runs goes on", {{"error", begun.error().what}});
    journal_.add("gateway", "an upgrade was refused");
    co_return;
  }
  upgrade_ = true;
  co_await shut_down("replacing this process by the binary on disk");
}

awaitable<void> Netd::shut_down(std::string why) {
  if (stopping_) co_return;
  stopping_ = true;
  log::info("gateway", "stopping", {{"why", why}});
  // To the service manager an upgrade is a reload: told to be stopping, it would end us for good.
  upgrade_ ? manager_.reloading() : manager_.stopping();
  const auto patience = loaded_.config->proxy.timeouts.drain + drain_margin;
  // At an upgrade the worker finishes beside its successor: our end of its channel goes with
  // execve.
  const bool drained = upgrade_ || co_await worker_.drain(patience);
  if (!drained) log::warn("gateway", "the worker did not finish in time; leaving it behind");
  co_await network_.stop();
  co_await worker_.stop();
  co_await launcher_.stop();
  control_.close();
  log::info("gateway",
            "stopped; the kernel's network state stays and fails closed "
            "(`oceanid down` removes it)");
  io_.stop();
}

// The admin endpoint shall not speak of the former exit until the next tick.
void Netd::exits_changed(const ExitTable& exits) {
  worker_.send_exits(exits);
  asio::post(io_, [this] { worker_.send_snapshot(snapshot()); });
}

void Netd::worker_ready(const ipc::Ready& ready) {
  if (ready.error.empty()) {
    served_ = true;
    log::info("gateway", "accepting", {{"configuration", std::to_string(ready.generation)}});
    manager_.ready(snapshot().diagnosis);
    return;
  }
  log::error("gateway", "the configuration cannot be served", {{"error", ready.error}});
  if (served_) return;
  exit_code_ = 2;
  io_.stop();
}

Result<WorkerConfiguration> Netd::worker_configuration(const LoadedConfig& loaded,
                                                       std::uint64_t generation) const {
  WorkerConfiguration out;
  const Config& config = *loaded.config;
  out.text = loaded.text;
  out.user = config.proxy.user;
  out.listeners = wanted_listeners(config, cores_);
  std::erase_if(out.listeners,
                [](const WantedListener& one) { return one.tag.kind == transport_listener_kind; });
  out.message.generation = generation;
  out.message.file = loaded.path;
  out.message.host_name = config.node;
  out.message.cores = cores_;
  out.message.local_addresses = network_.local_addresses();
  for (const auto& path : secret_files(config)) {
    auto file = open_secret_file(path);
    if (!file) return std::unexpected(std::move(file.error()));
    out.message.files.push_back(path);
    out.files.push_back(std::move(*file));
  }
  return out;
}

ipc::GatewaySnapshot Netd::snapshot() {
  ipc::GatewaySnapshot out;
  out.node = loaded_.config->node;
  out.version = version();
  out.connector_id = connector_id_;
  out.started = started_;
  out.generation = generation_;
  out.configuration_error = configuration_error_;
  if (former_) out.confirm_within_seconds = seconds_left();
  out.rollbacks = rollbacks_;
  out.worker_ready = worker_.ready();
  out.worker_restarts = worker_.restarts();
  network_.describe(out);
  out.proxy = counters_;
  out.events = journal_.latest();
  return out;
}

Result<UniqueFd> Netd::transport_listener(const SocketAddress& bind) const {
  const auto socket =
      listeners_.sockets().find(fmt::format("{} {} #0", transport_listener_kind, bind.to_string()));
  if (socket == listeners_.sockets().end())
    return fail(Errc::not_found, "tunnel.tls.bind has no socket");
  UniqueFd copy(::fcntl(socket->second.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("duplicate a socket");
  return copy;
}

void Netd::store_listeners() {
  if (!manager_.present()) return;
  for (const auto& [key, fd] : listeners_.sockets())
    manager_.store(fd.get(), store_name(key));
}

// A socket that only the service manager holds would go on taking connections that nobody accepts.
void Netd::drop_listeners() {
  for (const auto& key : listeners_.retain(wanted_listeners(*loaded_.config, cores_)))
    manager_.forget(store_name(key));
}

}  // namespace oceanid::process
