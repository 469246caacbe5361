// Which of its peers this node reaches: one row of the mesh's matrix. Every gateway says its own.

#include "gateway/process/network.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

constexpr std::chrono::milliseconds look{200};  // as often as echoes come

}  // namespace

void Network::describe_peers(ipc::GatewaySnapshot& out) const {
  if (!tunnels_) return;
  for (const auto& peer : tunnels_->peers()) {
    ipc::PeerView view;
    view.peer = peer.name;
    view.dialled = peer.dialled;
    view.reached = peer.reached;
    if (peer.silence) view.heard_seconds_ago = std::chrono::duration<double>(*peer.silence).count();
    view.hears_us = peer.hears_us;
    out.peers.push_back(std::move(view));
  }
}

// Sees to it that a node that dies is news at once, for the log and for /metrics.
awaitable<void> Network::watch_peers() {
  while (!stopping_) {
    co_await sleep_for(look);
    if (!tunnels_) continue;
    std::map<std::string, bool> now;
    for (const auto& peer : tunnels_->peers())
      if (peer.reached) now.emplace(peer.name, *peer.reached);
    if (now == reached_) continue;
    const auto before = std::exchange(reached_, std::move(now));
    for (const auto& [name, reached] : reached_) {
      const auto was = before.find(name);
      if (was == before.end() ? !reached : was->second == reached) continue;
      events_.event("tunnel",
                    fmt::format("peer {} is {}", name, reached ? "reached" : "not heard any more"));
    }
    events_.peers_changed();
  }
}

}  // namespace oceanid::process
