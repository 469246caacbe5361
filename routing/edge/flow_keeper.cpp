#include "routing/edge/flow_keeper.hpp"

#include "gateway/base/runtime/log.hpp"
#include "routing/core/reset_segment.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/format.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t at_once = 400;
constexpr std::chrono::nanoseconds pause = 20ms;  // with at_once: 20,000 a second
// Each is answered inside the system call, up to the reset in the pod: some 25 us.
constexpr std::size_t per_turn = 16;

ElementKey key_of(const FlowTuple& tuple) {
  return ElementKey()
      .address(tuple.source)
      .port(tuple.source_port)
      .address(tuple.destination)
      .port(tuple.destination_port);
}

}  // namespace

FlowKeeper::FlowKeeper(const asio::any_io_executor& executor, Kernel& kernel, FlowKernel& flows,
                       Report report)
    : kernel_(kernel),
      flows_(flows),
      report_(std::move(report)),
      wake_(executor),
      tasks_(executor) {
  wake_.expires_at(asio::steady_timer::time_point::max());
  tasks_.spawn("flows", work());
}

FlowKeeper::~FlowKeeper() = default;

awaitable<void> FlowKeeper::stop() {
  stopping_ = true;
  co_await tasks_.stop();
}

// Told again and again: also what a former life was draining comes to light after a while.
void FlowKeeper::switched_to(const IfName& device, std::chrono::milliseconds keep) {
  if (table_.device() != device) {
    table_.follow(device);
    keep_until_.reset();
    switched_at_ = std::chrono::steady_clock::now();
    if (keep > 0ms) keep_until_ = switched_at_ + keep;
  }
  // Another time since, by a new configuration, counts from the switch, too.
  if (keep_until_ && *keep_until_ != switched_at_ + keep) {
    keep_until_ = switched_at_ + keep;
    wake_.cancel();
  }
  if (table_.left_behind() == 0) keep_until_.reset();
  if (table_.left_behind() == 0 || due_) return;
  due_ = !keep_until_;
  wake_.cancel();
}

void FlowKeeper::end_draining() {
  if (!keep_until_) return;
  keep_until_.reset();
  due_ = true;
  wake_.cancel();
}

bool FlowKeeper::settled(const std::optional<IfName>& device) const {
  return !due_ && again_.empty() && drained() && (!device || device == table_.device());
}

awaitable<void> FlowKeeper::pin(const Mark& mark) {
  std::size_t from = 0;
  do {
    for (const Flow& flow : table_.some(from)) {
      note(flows_.mark(flow, mark));
      co_await breathe();
    }
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  } while (from != 0);
}

awaitable<void> FlowKeeper::work() {
  while (!stopping_) {
    if (due_) {
      co_await first_round();
      continue;
    }
    const auto now = std::chrono::steady_clock::now();
    if (keep_until_ && *keep_until_ <= now) {
      end_draining();
      continue;
    }
    if (!again_.empty() && again_.front().due <= now) {
      std::vector<Flow> flows = std::move(again_.front().flows);
      again_.pop_front();
      co_await second_round(std::move(flows));
      continue;
    }
    auto until = keep_until_.value_or(asio::steady_timer::time_point::max());
    if (!again_.empty()) until = std::min(until, again_.front().due);
    wake_.expires_at(until);
    auto [ec] = co_await wake_.async_wait(as_result);
    static_cast<void>(ec);  // cancelled: there is something to do
  }
}

awaitable<void> FlowKeeper::first_round() {
  FlowTable::Taken taken;
  // A part of the table has few of them: a pause after each part would make the last one wait for
  // seconds.
  while (!taken.complete && taken.flows.size() < at_once) {
    auto part = table_.take_left_behind(at_once - taken.flows.size());
    due_ = !part.complete;
    taken.complete = part.complete;
    std::ranges::move(part.flows, std::back_inserter(taken.flows));
    if (due_) co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  }
  if (taken.flows.empty()) co_return;
  const std::chrono::nanoseconds rest =
      pause * static_cast<std::int64_t>(taken.flows.size()) / static_cast<std::int64_t>(at_once);
  const auto rest_of_them = std::ranges::partition(
      taken.flows, [](const Flow& flow) { return flow.original.protocol == tcp_number; });
  const std::vector<Flow> others(rest_of_them.begin(), rest_of_them.end());
  taken.flows.erase(rest_of_them.begin(), rest_of_them.end());
  co_await refuse(taken.flows);
  for (const Flow& flow : taken.flows) {
    note(flows_.wake(flow.original));
    co_await breathe();
  }
  // Nobody waits for an end here; a new entry is translated for the new exit. One that the
  // flowtable has not let go of yet is busy for kernels before 6.1.32.
  std::vector<Flow> later;
  for (const Flow& flow : others) {
    const auto done = flows_.forget(flow);
    if (!done && done.error().os_error == EBUSY)
      later.push_back(flow);
    else
      note(done);
    co_await breathe();
  }
  counts_.reset += taken.flows.size();  // before the others join them
  counts_.forgotten += others.size();
  std::ranges::move(later, std::back_inserter(taken.flows));
  if (!taken.flows.empty())
    again_.push_back({std::chrono::steady_clock::now() + again, std::move(taken.flows)});
  else if (again_.empty() && !due_)
    co_await second_round({});
  co_await sleep_for(rest);
}

// Only now the entry goes: while it was there, the segment and the reset were part of a known
// connection for whoever filters them.
awaitable<void> FlowKeeper::second_round(std::vector<Flow> flows) {
  for (const Flow& flow : flows) {
    if (flow.original.protocol == tcp_number) note(flows_.wake(flow.original));
    note(flows_.forget(flow));
    co_await breathe();
  }
  if (!again_.empty() || due_) co_return;
  std::string text =
      fmt::format("{} connections of the former exit were reset, {} forgotten",
                  counts_.reset - reported_.reset, counts_.forgotten - reported_.forgotten);
  if (counts_.failed != reported_.failed)
    text += fmt::format("; {} refusals, the last one: {}", counts_.failed - reported_.failed,
                        std::exchange(error_, {}));
  reported_ = counts_;
  report_(text);
}

// Without a stamp to expect: an element here is right in any version of our tables (it says what
// has become of a connection, not what a rule means), runs out by itself, and must not wait for
// others to stop committing. Tables made anew in between have lost those before; the second round
// ends their connections.
awaitable<void> FlowKeeper::refuse(const std::vector<Flow>& flows) {
  ElementChange four{
      .set = std::string(reset_set4), .action = ElementAction::add, .prefixes = {}, .keys = {}};
  ElementChange six{
      .set = std::string(reset_set6), .action = ElementAction::add, .prefixes = {}, .keys = {}};
  for (const Flow& flow : flows)
    (flow.original.family() == Family::v4 ? four : six).keys.push_back({key_of(flow.original), {}});
  std::vector<ElementChange> changes;
  for (ElementChange* change : {&four, &six})
    if (!change->keys.empty()) changes.push_back(std::move(*change));
  if (changes.empty()) co_return;
  note(co_await kernel_.apply_elements(std::move(changes)));
}

awaitable<void> FlowKeeper::breathe() {
  if (++steps_ % per_turn == 0)
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

void FlowKeeper::note(const Result<void>& done) {
  if (done) return;
  ++counts_.failed;
  error_ = done.error().what;
}

}  // namespace oceanid::routing
