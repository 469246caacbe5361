#include "routing/edge/nft_watcher.hpp"

#include <array>
#include <utility>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

namespace oceanid::routing {
namespace {

// One notice takes some 100 bytes, and one comes for every element: kube-proxy writes thousands in
// one commit.
constexpr int receive_buffer = 8 << 20;
constexpr std::array<int, 1> groups{NFNLGRP_NFTABLES};

}  // namespace

NftWatcher::NftWatcher(const asio::any_io_executor& executor, NetlinkListener listener,
                       Events events, std::vector<std::uint32_t> own_ports)
    : listener_(std::move(listener)),
      events_(std::move(events)),
      writers_(std::move(own_ports)),
      tasks_(executor) {}

Result<std::unique_ptr<NftWatcher>> NftWatcher::start(const asio::any_io_executor& executor,
                                                      Events events,
                                                      std::vector<std::uint32_t> own_ports) {
  auto listener = NetlinkListener::open(executor, NETLINK_NETFILTER, groups, receive_buffer);
  if (!listener)
    return std::unexpected(std::move(listener.error()).context("listening to nf_tables"));
  std::unique_ptr<NftWatcher> out(
      new NftWatcher(executor, std::move(*listener), std::move(events), std::move(own_ports)));
  out->tasks_.spawn("nft commits", out->watch());
  return out;
}

awaitable<void> NftWatcher::stop() {
  co_await tasks_.stop();
}

awaitable<void> NftWatcher::watch() {
  while (co_await listener_.wait()) {
    bool overrun = false;
    static_cast<void>(listener_.drain([this](const nlmsghdr& message) { take(message); }, overrun));
    if (!overrun) continue;
    commits_.lost();
    events_.lost();
  }
}

void NftWatcher::take(const nlmsghdr& message) {
  const auto commit = commits_.take(message);
  if (!commit || writers_.wrote(*commit, DriftClock::now()) || commit->touches.empty()) return;
  events_.touched(*commit);
}

}  // namespace oceanid::routing
