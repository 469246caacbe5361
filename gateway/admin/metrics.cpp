// /metrics: the numbers of View as Prometheus families. prometheus-cpp serialises; the values are
// built fresh for each scrape from the snapshots, so there is no second copy to keep in step.

#include "gateway/admin/handlers.hpp"
#include "tunnel/core/health_exit.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace oceanid::admin {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Families {
 public:
  void counter(std::string name, std::string help) {
    start(std::move(name), std::move(help), prometheus::MetricType::Counter);
  }
  void gauge(std::string name, std::string help) {
    start(std::move(name), std::move(help), prometheus::MetricType::Gauge);
  }
  void value(double number, const Labels& labels = {}) {
    auto& metric = add(labels);
    if (families_.back().type == prometheus::MetricType::Counter)
      metric.counter.value = number;
    else
      metric.gauge.value = number;
  }
  void histogram(std::string name, std::string help, const proxy::Histogram& histogram) {
    start(std::move(name), std::move(help), prometheus::MetricType::Histogram);
    auto& out = add({}).histogram;
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < histogram.counts().size(); ++i) {
      cumulative += histogram.counts()[i];
      prometheus::ClientMetric::Bucket bucket;
      bucket.cumulative_count = cumulative;
      bucket.upper_bound = i < proxy::Histogram::bounds.size()
                               ? proxy::Histogram::bounds[i]
                               : std::numeric_limits<double>::infinity();
      out.bucket.push_back(bucket);
    }
    out.sample_count = cumulative;
    out.sample_sum = histogram.sum();
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  void start(std::string name, std::string help, prometheus::MetricType type) {
    auto& family = families_.emplace_back();
    family.name = std::move(name);
    family.help = std::move(help);
    family.type = type;
  }
  prometheus::ClientMetric& add(const Labels& labels) {
    auto& metric = families_.back().metric.emplace_back();
    for (const auto& [name, value] : labels) {
      auto& label = metric.label.emplace_back();
      label.name = name;
      label.value = value;
    }
    return metric;
  }
  std::vector<prometheus::MetricFamily> families_;
};

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

void proxy_families(Families& out, const proxy::StatsSnapshot& proxy) {
  out.counter("oceanid_proxy_requests_total", "Requests and tunnels by how they ended");
  for (const auto& [key, count] : proxy.requests)
    out.value(number(count), {{"outcome", key.first}, {"role", key.second}});
  out.gauge("oceanid_proxy_tunnels_open", "Tunnels open now");
  out.value(number(proxy.tunnels_open));
  out.counter("oceanid_proxy_bytes_total", "Bytes relayed, counted while tunnels live");
  out.value(number(proxy.bytes_up), {{"direction", "up"}});
  out.value(number(proxy.bytes_down), {{"direction", "down"}});
  out.histogram("oceanid_proxy_dns_seconds", "Name resolution", proxy.dns_seconds);
  out.counter("oceanid_proxy_dns_lookups_total", "Names resolved, by where the answer came from");
  out.value(number(proxy.dns.hit), {{"result", "hit"}});
  out.value(number(proxy.dns.negative), {{"result", "negative"}});
  out.value(number(proxy.dns.stale), {{"result", "stale"}});
  out.value(number(proxy.dns.miss), {{"result", "miss"}});
  out.value(number(proxy.dns.hosts), {{"result", "hosts"}});
  out.counter("oceanid_proxy_dns_prefetch_total", "Names asked again in the background");
  out.value(number(proxy.dns.prefetch));
  out.gauge("oceanid_proxy_dns_cache_entries", "Names in the caches of all event loops and exits");
  out.value(number(proxy.dns.entries));
  out.histogram("oceanid_proxy_connect_seconds", "Connecting to the destination",
                proxy.connect_seconds);
  out.histogram("oceanid_proxy_first_byte_seconds",
                "From the request to the destination's first byte", proxy.first_byte_seconds);
  out.counter("oceanid_proxy_guard_denied_total", "Destinations refused by the address guard");
  for (const auto& [range, count] : proxy.guard_denied)
    out.value(number(count), {{"range", range}});
  out.gauge("oceanid_proxy_breakers_open", "Destinations left alone now");
  out.value(number(proxy.breakers_open));
  out.counter("oceanid_proxy_breaker_opened_total", "How often a destination was left alone");
  out.value(number(proxy.breakers_opened));
  out.counter("oceanid_proxy_shed_total", "Requests refused to protect what runs");
  for (const auto& [reason, count] : proxy.shed)
    out.value(number(count), {{"reason", reason}});
  out.gauge("oceanid_forward_connections_open", "Connections open now through a forward");
  for (const auto& [name, open] : proxy.forward_open)
    out.value(number(open), {{"forward", name}});
  out.gauge("oceanid_forward_target_up", "1 while the probe of a forward's target succeeds");
  for (const auto& [key, answers] : proxy.forward_targets)
    out.value(answers ? 1 : 0, {{"forward", key.first}, {"target", key.second}});
}

void target_families(Families& out, const std::vector<ipc::TargetView>& targets) {
  const auto labels = [](const ipc::TargetView& one) {
    return Labels{{"exit", one.exit}, {"target", one.target}};
  };
  out.gauge("oceanid_probe_success", "1 when the last probe of the target through the exit did");
  for (const auto& one : targets)
    if (one.known) out.value(one.good ? 1 : 0, labels(one));
  out.gauge("oceanid_probe_duration_seconds", "How long that probe took");
  for (const auto& one : targets)
    if (one.known) out.value(one.seconds, labels(one));
  out.counter("oceanid_probe_failures_total", "Probes that failed");
  for (const auto& one : targets)
    out.value(number(one.failed_total), labels(one));
  out.gauge("oceanid_probe_certificate_days", "Days until the target's certificate expires");
  for (const auto& one : targets)
    if (one.certificate_days) out.value(*one.certificate_days, labels(one));
  out.counter("oceanid_exit_address_mismatch_total",
              "Times that the world saw another address than the exit's");
  for (const auto& one : targets)
    if (one.target == "exit_ip") out.value(number(one.mismatches), {{"exit", one.exit}});
}

void exit_families(Families& out, const ipc::GatewaySnapshot& gateway) {
  out.gauge("oceanid_exit_state", "1 for the state that the exit is in");
  for (const auto& exit : gateway.exits)
    for (const auto state : tunnel::health_states)
      out.value(exit.state == to_string(state) ? 1 : 0,
                {{"exit", exit.name}, {"state", std::string(to_string(state))}});
  out.gauge("oceanid_exit_diagnosis", "1 for the code of what is wrong with the exit, or ok");
  for (const auto& exit : gateway.exits)
    if (!exit.code.empty()) out.value(1, {{"exit", exit.name}, {"code", exit.code}});
  out.gauge("oceanid_diagnosis", "1 for the code of the diagnosis of this gateway");
  if (!gateway.diagnosis_code.empty()) out.value(1, {{"code", gateway.diagnosis_code}});
  out.gauge("oceanid_exit_current", "1 for the exit that carries the traffic");
  for (const auto& exit : gateway.exits)
    out.value(exit.current ? 1 : 0, {{"exit", exit.name}});
  out.gauge("oceanid_exit_rtt_seconds", "Round trip inside the tunnel");
  for (const auto& exit : gateway.exits)
    if (exit.rtt_seconds) out.value(*exit.rtt_seconds, {{"exit", exit.name}});
  out.gauge("oceanid_exit_loss_ratio", "Echoes that were lost, of those of about ten seconds");
  for (const auto& exit : gateway.exits)
    if (exit.loss_ratio) out.value(*exit.loss_ratio, {{"exit", exit.name}});
  out.counter("oceanid_failovers_total", "Switches of the current exit");
  for (const auto& one : gateway.failovers)
    out.value(number(one.count), {{"from", one.from}, {"to", one.to}, {"reason", one.reason}});
  out.gauge("oceanid_failover_seconds",
            "The last failover, from the former exit's last answer to the other one's route");
  if (gateway.failover_seconds) out.value(*gateway.failover_seconds);
  target_families(out, gateway.targets);
}

// A peer that dials us and is dialled has two tunnels: ours to it is the one that is shown.
bool has_better(const ipc::GatewaySnapshot& gateway, const ipc::TunnelView& tunnel) {
  return tunnel.device == "oc-hub" && std::ranges::any_of(gateway.tunnels, [&](const auto& other) {
           return other.peer == tunnel.peer && other.device != tunnel.device;
         });
}

void tunnel_families(Families& out, const ipc::GatewaySnapshot& gateway) {
  out.gauge("oceanid_tunnel_mtu_bytes", "MTU in force inside the tunnel");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.mtu > 0 && !has_better(gateway, tunnel))
      out.value(tunnel.mtu, {{"peer", tunnel.peer}});
  out.gauge("oceanid_tunnel_path_mtu_bytes", "What the path to the peer carries, outer packets");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.path && tunnel.path->bytes && !has_better(gateway, tunnel))
      out.value(*tunnel.path->bytes, {{"peer", tunnel.peer}, {"family", tunnel.path->family}});
  out.counter("oceanid_tunnel_mtu_black_holes_total",
              "Paths that stopped carrying a size without a word");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.path && !has_better(gateway, tunnel))
      out.value(number(tunnel.path->black_holes), {{"peer", tunnel.peer}});
  out.gauge("oceanid_tunnel_path_too_narrow",
            "1 while IPv6 needs a larger MTU inside the tunnel than the path carries");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.path && !has_better(gateway, tunnel))
      out.value(tunnel.path->below_floor ? 1 : 0, {{"peer", tunnel.peer}});
  out.gauge("oceanid_tunnel_handshake_age_seconds", "Since the last WireGuard handshake");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.handshake_age_seconds)
      out.value(*tunnel.handshake_age_seconds, {{"peer", tunnel.peer}, {"device", tunnel.device}});
  out.gauge("oceanid_tunnel_transport", "1 for the transport in use");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.device != "oc-hub")
      out.value(tunnel.present ? 1 : 0, {{"peer", tunnel.peer}, {"transport", tunnel.transport}});
  out.counter("oceanid_tunnel_transport_dropped_total",
              "Datagrams that the TLS transport would have delivered too late");
  for (const auto& tunnel : gateway.tunnels)
    if (tunnel.device != "oc-hub" && tunnel.transport_dropped > 0)
      out.value(number(tunnel.transport_dropped), {{"peer", tunnel.peer}});
}

void peer_families(Families& out, const ipc::GatewaySnapshot& gateway) {
  out.gauge("oceanid_peer_reached", "1 while echoes pass between this node and the peer");
  for (const auto& peer : gateway.peers)
    if (peer.reached) out.value(*peer.reached ? 1 : 0, {{"peer", peer.peer}});
  out.gauge("oceanid_peer_heard_seconds", "Since the peer was last heard");
  for (const auto& peer : gateway.peers)
    if (peer.heard_seconds_ago) out.value(*peer.heard_seconds_ago, {{"peer", peer.peer}});
  out.gauge("oceanid_peer_hears_us", "1 when the peer says that it hears our answers");
  for (const auto& peer : gateway.peers)
    if (peer.hears_us) out.value(*peer.hears_us ? 1 : 0, {{"peer", peer.peer}});
}

void key_families(Families& out, const ipc::GatewaySnapshot& gateway) {
  out.gauge("oceanid_tunnel_peer_next_key",
            "1 when a peer's next_public_key is in force; only while both keys are named");
  for (const auto& tunnel : gateway.tunnels)
    if (!tunnel.key_in_force.empty())
      out.value(tunnel.key_in_force == "next_public_key" ? 1 : 0,
                {{"peer", tunnel.peer}, {"device", tunnel.device}});
  if (!gateway.key) return;
  const auto& key = *gateway.key;
  out.gauge("oceanid_tunnel_key_age_seconds", "Since this node's WireGuard key was made");
  if (key.age_seconds) out.value(*key.age_seconds);
  out.gauge("oceanid_tunnel_key_lifetime_seconds", "The age from which on it is warned about");
  out.value(key.lifetime_seconds);
  out.gauge("oceanid_tunnel_key_rotation", "1 for the phase of the change to the next key");
  for (const auto* phase : {"none", "waiting", "announced", "turned"})
    out.value(key.rotation == phase ? 1 : 0, {{"phase", phase}});
  out.gauge("oceanid_tunnel_key_rotation_peer", "1 for what the peer says of the next key");
  for (const auto& peer : key.peers)
    for (const auto* state : {"silent", "unknown", "ready", "turned"})
      out.value(peer.state == state ? 1 : 0, {{"peer", peer.peer}, {"state", state}});
  out.counter("oceanid_tunnel_key_messages_refused_total",
              "Messages of peers about keys that did not fit the configuration");
  out.value(number(key.messages_refused));
}

void conntrack(Families& out, const ipc::ConntrackView& table) {
  out.gauge("oceanid_conntrack_entries", "Connections in the kernel's table");
  out.value(number(table.entries));
  out.gauge("oceanid_conntrack_entries_limit", "How many it may hold (nf_conntrack_max)");
  out.value(number(table.limit));
  out.counter("oceanid_conntrack_insert_failed_total",
              "New connections without a free port for their translation, or that lost a race");
  out.value(number(table.insert_failed));
  out.counter("oceanid_conntrack_dropped_total", "New connections that met a full table");
  out.value(number(table.dropped));
}

void serving(Families& out, const ipc::ServingView& view) {
  out.gauge("oceanid_routing_port_budget_used_ratio",
            "Part of an exit address's ports that is taken towards a destination; the fullest");
  for (const auto& line : view.ports)
    out.value(line.ratio, {{"address", line.address}, {"destination", line.destination}});
  out.counter("oceanid_routing_source_bytes_total",
              "Of ended connections, by the clients' /24 or /64");
  for (const auto& line : view.networks) {
    out.value(number(line.bytes_up), {{"source", line.network}, {"direction", "up"}});
    out.value(number(line.bytes_down), {{"source", line.network}, {"direction", "down"}});
  }
  out.counter("oceanid_routing_source_flows_total",
              "Ended connections, by the clients' /24 or /64");
  for (const auto& line : view.networks)
    out.value(number(line.flows), {{"source", line.network}});
  out.gauge("oceanid_routing_source_flows_open", "Connections that this exit translates now");
  out.value(number(view.flows_open));
  out.counter("oceanid_routing_client_refused_total",
              "New connections of clients that had serve_exit.per_client open already");
  out.value(number(view.refused));
}

}  // namespace

std::string metrics_text(const View& view) {
  Families out;
  proxy_families(out, view.proxy);
  exit_families(out, view.gateway);
  tunnel_families(out, view.gateway);
  peer_families(out, view.gateway);
  key_families(out, view.gateway);
  const auto& routing = view.gateway.routing;
  out.counter(
      "oceanid_routing_leaks_blocked_total",
      "Packets that got past the routing rules and were stopped by the kill switch in "
      "nftables; what the routing rules refuse, as while no exit is usable, is not counted");
  out.value(number(routing.leaks_blocked));
  out.gauge("oceanid_routing_flows", "Connections of pods through the active exit");
  out.value(number(routing.flows));
  out.counter("oceanid_routing_flows_reset_total",
              "Connections of pods that were reset because their exit was given up");
  out.value(number(routing.flows_reset));
  out.counter("oceanid_routing_flow_overruns_total",
              "Times that the kernel dropped notices of connections, and all were listed again");
  out.value(number(routing.flow_overruns));
  out.gauge("oceanid_routing_flowtable_in_use",
            "1 while established connections skip the rule set (routing.flowtable, "
            "serve_exit.flowtable)");
  out.value(routing.flowtable == "in use" ? 1 : 0);
  out.gauge("oceanid_routing_in_force", "1 when the last plan stands in the kernel");
  out.value(routing.in_force ? 1 : 0);
  out.gauge("oceanid_routing_apply_seconds", "How long the last change of the kernel's state took");
  out.value(routing.last_apply_seconds);
  if (view.gateway.conntrack) conntrack(out, *view.gateway.conntrack);
  out.gauge("oceanid_configuration_confirm_seconds",
            "Until the configuration goes back unless it is confirmed; absent when it stands");
  if (view.gateway.confirm_within_seconds) out.value(*view.gateway.confirm_within_seconds);
  out.counter("oceanid_configuration_rollbacks_total", "Changes that went back unconfirmed");
  out.value(number(view.gateway.rollbacks));
  out.counter("oceanid_routing_drift_total",
              "Changes of our kernel state by others that were undone, by what and by whom");
  for (const auto& drift : routing.drift)
    out.value(number(drift.count), {{"kind", drift.kind}, {"culprit", drift.culprit}});
  out.gauge("oceanid_routing_drift_repair_seconds",
            "From the notice of the last foreign change to the end of its repair");
  if (routing.last_drift_repair_seconds) out.value(*routing.last_drift_repair_seconds);
  if (view.gateway.serving) serving(out, *view.gateway.serving);
  out.counter("oceanid_log_lines_lost_total", "Log lines given up because nobody read them");
  out.value(number(view.lost_log_lines));
  out.counter("oceanid_worker_restarts_total", "Workers started again after one ended");
  out.value(number(view.gateway.worker_restarts));
  out.gauge("oceanid_build_info", "Always 1");
  out.value(1, {{"version", view.gateway.version}});
  return out.text();
}

}  // namespace oceanid::admin
