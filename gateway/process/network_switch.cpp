// An exit that is lost while a change of the kernel's state waits for the nft program is left at
// once: the change takes seconds with large sets, and the switch is one route.

#include "gateway/process/network.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace oceanid::process {
namespace {

constexpr std::chrono::milliseconds look{50};  // a quarter of what lies between two echoes
// A plan and a reading of the kernel cost milliseconds, which nft wants, too.
constexpr std::chrono::milliseconds look_after_refusal{500};

}  // namespace

awaitable<void> Network::watch_exit() {
  bool refused = false;
  while (!stopping_) {
    if (reconciler_->applying())
      applying_.expires_after(refused ? look_after_refusal : look);
    else
      applying_.expires_at(asio::steady_timer::time_point::max());
    auto [ec] = co_await applying_.async_wait(as_result);
    static_cast<void>(ec);  // cancelled: a change has begun
    if (!stopping_) refused = !leave_lost_exit();
  }
}

// From an exit that still works there is no hurry, and its connections are marked first
// (drain_first): that waits its turn. What is asked is the route that stands, not who has already
// decided to leave it: a change that was asked for behind the one under way, by anybody's notice,
// may have taken that decision and waits with it. False: it is lost, and the change under way has
// to end first (nothing is opened that is closed).
bool Network::leave_lost_exit() {
  if (!config_.routing || config_.exits.empty() || !reconciler_->applying()) return true;
  if (auto facts = kernel_->facts()) facts_ = std::move(*facts);
  const std::uint32_t table = config_.routing->table;
  const ExitTable now = judge_exits();  // one for each of config_.exits
  bool lost = false;
  for (std::size_t i = 0; i < now.exits.size(); ++i)
    lost |= !now.exits[i].usable && reconciler_->leaves_by(device_of(config_.exits[i]), table);
  if (!lost) return true;
  update_exits();
  mark_due();  // all else that follows from it
  const routing::NetworkState desired = routing::plan(inputs());
  if (!reconciler_->switch_exit(desired, table)) return false;
  note_switch_done();
  if (const auto device = egress_device(desired); device && flows_) flows_->switched_to(*device);
  return true;
}

}  // namespace oceanid::process
