#include "routing/edge/facts_watcher.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <linux/rtnetlink.h>

namespace oceanid::routing {
namespace {

constexpr int receive_buffer =
    1 << 20;  // some thousand notices: a BGP daemon's burst overruns it, that is a resync
constexpr std::size_t most_signs = 256;  // in one call; more only repeat what these say

// A next hop object takes the IPv4 routes that use it along without a notice about them.
constexpr std::array<int, 10> groups{
    RTNLGRP_LINK,         RTNLGRP_IPV4_IFADDR,  RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE,   RTNLGRP_IPV4_RULE,    RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP,
    RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
};

void note_host(std::uint16_t type, FactsChange& change) {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      change.links = true;
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      change.addresses = true;
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      change.routes = true;
      break;
    case RTM_NEWRULE:
    case RTM_DELRULE:
      change.rules = true;
      break;
    case RTM_NEWNETCONF:
    case RTM_DELNETCONF:
      change.settings = true;
      break;
    default:
      break;
  }
}

// Until there is something to read or the time has come; false: cancelled.
awaitable<bool> news_before(NetlinkListener& listener, std::optional<DriftClock::time_point> due) {
  using boost::asio::experimental::awaitable_operators::operator||;
  if (!due) co_return co_await listener.wait();
  const auto left = std::max(*due - DriftClock::now(), DriftClock::duration::zero());
  const auto winner = co_await (listener.wait() || sleep_for(left));
  co_return winner.index() == 1 ? !std::get<1>(winner) : std::get<0>(winner);
}

}  // namespace

FactsWatcher::FactsWatcher(const asio::any_io_executor& executor, NetlinkListener listener,
                           Callback callback, std::uint32_t own_port)
    : listener_(std::move(listener)),
      callback_(std::move(callback)),
      own_port_(own_port),
      tasks_(executor) {}

Result<std::unique_ptr<FactsWatcher>> FactsWatcher::start(const asio::any_io_executor& executor,
                                                          Callback callback,
                                                          std::uint32_t own_port) {
  auto listener = NetlinkListener::open(executor, NETLINK_ROUTE, groups, receive_buffer);
  if (!listener) return std::unexpected(std::move(listener.error()));
  std::unique_ptr<FactsWatcher> out(
      new FactsWatcher(executor, std::move(*listener), std::move(callback), own_port));
  out->tasks_.spawn("network facts", out->watch());
  return out;
}

awaitable<void> FactsWatcher::stop() {
  co_await tasks_.stop();
}

// What touches us is told as it comes, and the host's news with it. The host's alone wait, counted
// from the first of them, so that a host that never rests is still heard 20 times a second.
awaitable<void> FactsWatcher::watch() {
  FactsChange change;
  std::optional<DriftClock::time_point> due;
  while (true) {
    if (!co_await news_before(listener_, due)) co_return;
    drain(change);
    if (change.host() && !due) due = DriftClock::now() + debounce;
    if (!change.signs.empty() || (due && DriftClock::now() >= *due)) {
      due.reset();
      callback_(std::exchange(change, FactsChange{}));
    }
  }
}

void FactsWatcher::drain(FactsChange& change) {
  static_cast<void>(
      listener_.drain([&](const nlmsghdr& message) { note(message, change); }, change.resync));
}

void FactsWatcher::note(const nlmsghdr& message, FactsChange& change) {
  if (own_port_ != 0 && message.nlmsg_pid == own_port_) return;
  auto sign = sign_of(message, own_);
  // A link of ours is also news for those who make links.
  if (!sign || sign->kind == DriftKind::link) note_host(message.nlmsg_type, change);
  if (!sign || change.signs.size() >= most_signs) return;
  // A purge is many notices of one process, and one look at /proc.
  const bool same = !change.signs.empty() && change.signs.back().culprit.pid == message.nlmsg_pid;
  sign->culprit = same ? change.signs.back().culprit : culprit_of(message.nlmsg_pid);
  sign->at = DriftClock::now();
  change.signs.push_back(std::move(*sign));
}

}  // namespace oceanid::routing
