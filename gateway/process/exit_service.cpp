#include "gateway/process/exit_service.hpp"

#include "gateway/base/runtime/log.hpp"
#include "routing/core/marks.hpp"
#include "routing/core/spill_elements.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
// The snapshot goes to the worker every second: what is shown there is kept short.
constexpr std::size_t shown_clients = 20;
constexpr std::size_t shown_destinations = 5;
constexpr std::size_t shown_ports = 20;
constexpr auto between_refusals = 60s;

ipc::ClientView view_of(const routing::ClientLedger::Client& client) {
  ipc::ClientView out{client.address.to_string(),
                      client.open,
                      client.flows,
                      client.usage.bytes_up,
                      client.usage.bytes_down,
                      client.usage.packets_up,
                      client.usage.packets_down,
                      {}};
  auto lines = client.destinations;
  std::ranges::sort(lines, std::ranges::greater(), &routing::ClientLedger::DestinationLine::bytes);
  for (const auto& line : lines) {
    if (out.destinations.size() == shown_destinations) break;
    out.destinations.push_back({line.to.to_string(), line.bytes, line.flows});
  }
  return out;
}

}  // namespace

ExitService::ExitService(asio::any_io_executor executor, routing::Kernel& kernel, Reports reports)
    : executor_(std::move(executor)),
      kernel_(kernel),
      reports_(std::move(reports)),
      wake_(executor_) {
  flows_.set_on_pressing([this] { wake_.cancel(); });
}

ExitService::~ExitService() = default;

void ExitService::start(const Mark& mark, Watcher shared) {
  if (shared) {
    watcher_ = std::move(shared);
    watcher_->join(flows_);
  } else {
    // Connections as they begin and end: what happens in between is no news to us. Exempt ones are
    // translated by others.
    const auto bits = routing::mark_bits(mark);
    auto own = routing::ConntrackWatcher::start(
        executor_,
        {.mark = {bits.carried.value, bits.carried.mask | bits.exempt.mask}, .updates = false},
        {&flows_});
    if (!own) {
      log::warn("routing", "clients' connections are not counted", {{"error", own.error().what}});
      return;
    }
    watcher_ = std::move(*own);
    owned_ = true;
  }
  stopping_ = false;
  tasks_ = std::make_unique<TaskGroup>(executor_);
  tasks_->spawn("exit", look());
}

awaitable<void> ExitService::follow(const Config& config, Watcher shared) {
  if (!config.serve_exit) {
    co_await stop();
    co_return;
  }
  const auto* list = std::get_if<routing::SnatList>(&config.serve_exit->snat);
  addresses_ = list != nullptr ? *list : std::vector<IpAddress>();
  accounting_ = config.serve_exit->accounting;
  flows_.account(accounting_);
  per_client_ = config.serve_exit->per_client;
  const Mark mark = config.routing ? config.routing->mark : routing::RoutingSettings().mark;
  const bool other = shared ? shared != watcher_ : watcher_ && !owned_;
  if (mark_ && (*mark_ != mark || other)) co_await stop();
  if (mark_) co_return;
  mark_ = mark;
  start(mark, std::move(shared));
}

awaitable<void> ExitService::look() {
  while (!stopping_) {
    wake_.expires_after(1s);
    // Cancelled: an address has few ports left, or we are to end.
    if (!flows_.budget().pressing()) co_await wake_.async_wait(as_result);
    if (!stopping_) co_await tick();
  }
}

awaitable<void> ExitService::tick() {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::steady_clock::now().time_since_epoch());
  const auto advice = flows_.budget().tick(now, addresses_);
  if (!advice.spills.empty()) co_await carry_out(advice.spills);
  for (const auto& notice : advice.notices)
    (notice.warning ? reports_.warning : reports_.event)(notice.text);
}

// Without a stamp to expect: which address a destination has ports left at does not depend on the
// rules, and the elements run out by themselves. Sets that were made anew, empty, are told by
// sets_replaced().
awaitable<void> ExitService::carry_out(const std::vector<routing::Spill>& spills) {
  auto done = co_await kernel_.apply_elements(routing::changes_of(spills));
  if (done) co_return;
  flows_.budget().forget_spills();  // said again in a second
  log::warn("routing", "new connections do not take the next address yet",
            {{"error", done.error().what}});
}

// The kernel counts, and does not tell whose they were: likely his who has most open.
void ExitService::refused(std::uint64_t total) {
  refused_ = total;
  if (refused_ == refused_told_) return;
  const auto now = std::chrono::steady_clock::now();
  if (told_at_ && now < *told_at_ + between_refusals) return;
  told_at_ = now;
  const auto more = refused_ - std::exchange(refused_told_, refused_);
  const auto* busiest = flows_.ledger().busiest();
  const std::string who =
      busiest == nullptr
          ? std::string()
          : fmt::format("; most has {}: {}", busiest->address.to_string(), busiest->open);
  reports_.warning(
      fmt::format("{} new connections were refused, of a client with {} open already "
                  "(serve_exit.per_client){}",
                  more, per_client_, who));
}

void ExitService::describe(ipc::GatewaySnapshot& out) const {
  if (!watcher_) return;
  ipc::ServingView view;
  view.flows_open = flows_.open();
  view.overruns = watcher_->counts().overruns;
  view.refused = refused_;
  for (const auto& line : flows_.budget().fullest(shown_ports))
    view.ports.push_back({line.use.address.to_string(), line.use.to.to_string(), line.used,
                          flows_.budget().available(), line.ratio});
  if (accounting_) {
    view.clients_known = flows_.ledger().size();
    for (const auto* client : flows_.ledger().largest(shown_clients))
      view.clients.push_back(view_of(*client));
    for (const auto& [network, line] : flows_.ledger().networks())
      view.networks.push_back({network.length() == 0 ? "other" : network.to_string(),
                               line.usage.bytes_up, line.usage.bytes_down, line.flows});
  }
  out.serving = std::move(view);
}

awaitable<void> ExitService::stop() {
  stopping_ = true;
  wake_.cancel();
  if (tasks_) co_await tasks_->stop();
  tasks_.reset();
  if (watcher_ && owned_) co_await watcher_->stop();
  if (watcher_ && !owned_) watcher_->leave(flows_);
  watcher_.reset();
  owned_ = false;
  mark_.reset();
  flows_.dump_begins();  // nothing is open any more that we would hear of
  flows_.dump_ended();
  flows_.budget().forget_spills();
}

}  // namespace oceanid::process
