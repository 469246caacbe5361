// What operators are shown of the network.

#include "gateway/process/exit_service.hpp"
#include "gateway/process/network.hpp"
#include "routing/core/selection.hpp"

#include <chrono>

#include <netinet/in.h>

namespace oceanid::process {
namespace {

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

ipc::PathView path_view(const tunnel::PathStatus& path) {
  ipc::PathView view;
  view.family = path.outer == Family::v4 ? "ipv4" : "ipv6";
  view.state = to_string(path.state);
  view.answered = path.answered;
  view.bytes = path.size;
  view.there = path.there;
  view.back = path.back;
  view.below_floor = path.below_floor;
  view.black_holes = path.black_holes;
  return view;
}

}  // namespace

std::string Network::routed(const std::string& from, const std::vector<proxy::ExplainedAddress>& to,
                            std::uint16_t port) const {
  const auto source = IpAddress::parse(from);
  if (!config_.routing || !source) return {};
  const std::string active = exits_.active ? exits_.exits[*exits_.active].name : std::string();
  for (const auto& one : to)
    if (const auto destination = IpAddress::parse(one.address);
        destination && destination->family() == source->family())
      return routing::explain_way(*config_.routing, {*source, *destination, IPPROTO_TCP, port},
                                  active);
  return {};
}

// A peer that dials us shows by its address whether it came through our own shim.
void Network::describe_transport(ipc::TunnelView& view, const tunnel::TunnelStatus& status,
                                 const tunnel::PeerStatus& peer) const {
  static const Prefix loopback = Prefix::parse("127.0.0.0/8").value();
  const bool shim = peer.endpoint && loopback.contains(peer.endpoint->address);
  view.transport = to_string(shim ? tunnel::Transport::tls : tunnel::Transport::udp);
  if (!status.hub) transports_.describe(view);
}

// A new ruleset counts from zero, the sum goes on; a table that is gone for the moment counts
// nothing.
std::uint64_t Network::counted_anew(const char* counter) {
  const auto packets = kernel_->counter_packets(counter);
  if (!packets) return 0;
  const std::uint64_t seen = std::exchange(counters_seen_[counter], *packets);
  return *packets >= seen ? *packets - seen : *packets;
}

void Network::describe(ipc::GatewaySnapshot& out) {
  if (kernel_ && routing_view_.enabled) {
    // Both are the kill switch's second layer at work: what would have left around the exit, and
    // what would have left an exit untranslated. Packets that the first one refuses (an unreachable
    // route or rule) pass no hook of nftables afterwards, and the kernel has no counter for them:
    // of an unreachable route's ip_error() counts none, and rules have no statistics.
    for (const auto* name : {"leak_blocked", "lastline_blocked"})
      routing_view_.leaks_blocked += counted_anew(name);
  }
  if (flows_) flows_->describe(routing_view_);
  describe_drift();
  out.routing = routing_view_;
  watch_connections(out);
  if (exit_service_) {
    if (kernel_ && config_.serve_exit && config_.serve_exit->per_client > 0)
      clients_refused_ += counted_anew("client_refused");
    exit_service_->refused(clients_refused_);
    exit_service_->describe(out);
  }
  describe_key(out);
  for (const auto& [key, view] : failovers_)
    out.failovers.push_back(view);
  describe_health(out);
  describe_peers(out);
  const auto statuses = tunnels_ ? tunnels_->status() : std::vector<tunnel::TunnelStatus>();
  for (const auto& status : statuses) {
    for (const auto& peer : status.peers) {
      ipc::TunnelView view;
      view.peer = peer.name;
      view.device = status.device.str();
      view.backend = status.backend;
      view.version = status.version;
      view.present = status.present;
      view.endpoint = peer.endpoint ? peer.endpoint->to_string() : std::string("-");
      if (peer.handshake_age) view.handshake_age_seconds = seconds(*peer.handshake_age);
      if (peer.next_key_in_force)
        view.key_in_force = *peer.next_key_in_force ? "next_public_key" : "public_key";
      view.rx_bytes = peer.rx_bytes;
      view.tx_bytes = peer.tx_bytes;
      view.mtu = peer.mtu;
      view.full_size_missing = status.full_size_missing;
      if (peer.path) view.path = path_view(*peer.path);
      if (!status.hub) view.answers = status.proof.usable;
      if (status.rtt) view.rtt_seconds = seconds(*status.rtt);
      view.hears_us = peer.hears_us;
      describe_transport(view, status, peer);
      out.tunnels.push_back(std::move(view));
    }
  }
}

}  // namespace oceanid::process
