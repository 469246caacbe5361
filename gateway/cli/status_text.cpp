#include "gateway/cli/status_text.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <set>
#include <string>

#include <fmt/format.h>

namespace oceanid::cli {
namespace {

std::string join(const std::vector<IpAddress>& addresses) {
  std::string out;
  for (const auto& address : addresses) {
    if (!out.empty()) out += ", ";
    out += address.to_string();
  }
  return out;
}

std::string milliseconds(const std::optional<double>& seconds) {
  return seconds ? fmt::format("{:.1f} ms", *seconds * 1000) : std::string("-");
}

std::string result_of(const ipc::TargetView& one) {
  if (!one.known) return "not known yet";
  if (!one.good) return one.error;
  if (!one.seen.empty()) return "seen as " + one.seen;
  return one.certificate_days ? fmt::format("works; certificate for {} days", *one.certificate_days)
                              : std::string("works");
}

std::string age(const std::optional<double>& seconds) {
  return seconds ? fmt::format("{:.0f} s", *seconds) : std::string("never");
}

// What the path carries: "-" where nobody answers, with a mark where IPv6 needs more.
const char* known(const std::optional<bool>& answer) {
  return !answer ? "-" : *answer ? "yes" : "no";
}

std::string path(const ipc::TunnelView& tunnel) {
  if (!tunnel.path || !tunnel.path->bytes) return "-";
  return fmt::format("{}{}", *tunnel.path->bytes, tunnel.path->below_floor ? "!" : "");
}

void print_key(std::string& out, const ipc::KeyView& key) {
  auto print = std::back_inserter(out);
  constexpr double day = 86400;
  fmt::format_to(print, "\nkey {}", key.public_key);
  if (key.age_seconds) fmt::format_to(print, ", {:.0f} days old", *key.age_seconds / day);
  if (key.too_old)
    fmt::format_to(print,
                   ", older than the {:.0f} days of tunnel.key_lifetime: oceanid keys rotate",
                   key.lifetime_seconds / day);
  out += "\n";
  if (key.next_public_key) fmt::format_to(print, "next key {}\n", *key.next_public_key);
  if (key.rotation == "turned") out += "the former key is kept for three minutes\n";
  for (const auto& peer : key.peers)
    fmt::format_to(print, "  {:<12} {}\n", peer.peer, peer.state);
  if (!key.held.empty()) fmt::format_to(print, "{}\n", key.held);
}

}  // namespace

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

namespace {

void print_serving(std::back_insert_iterator<std::string> print, const ipc::ServingView& view) {
  constexpr std::size_t shown = 10;
  fmt::format_to(
      print, "exit: {} connections open, {} clients known{}\n", view.flows_open, view.clients_known,
      view.refused == 0 ? std::string() : fmt::format(", {} refused over the limit", view.refused));
  if (!view.clients.empty())
    fmt::format_to(print, "\n  {:<22} {:<8} {:<10} {:<11} {:<11} {}\n", "CLIENT", "OPEN", "ENDED",
                   "UP", "DOWN", "MOSTLY TO");
  for (std::size_t i = 0; i < std::min(shown, view.clients.size()); ++i) {
    const auto& client = view.clients[i];
    fmt::format_to(print, "  {:<22} {:<8} {:<10} {:<11} {:<11} {}\n", client.address, client.open,
                   client.flows, human_bytes(client.bytes_up), human_bytes(client.bytes_down),
                   client.destinations.empty() ? "-" : client.destinations[0].destination);
  }
  if (!view.ports.empty())
    fmt::format_to(print, "\n  {:<22} {:<26} {:<8} {}\n", "ADDRESS", "TOWARDS", "PORTS", "TAKEN");
  for (std::size_t i = 0; i < std::min(shown, view.ports.size()); ++i) {
    const auto& line = view.ports[i];
    fmt::format_to(print, "  {:<22} {:<26} {:<8} {:.0f} %\n", line.address, line.destination,
                   line.used, line.ratio * 100);
  }
}

using Printer = std::back_insert_iterator<std::string>;

void print_exits(Printer print, const ipc::GatewaySnapshot& snapshot) {
  if (!snapshot.exits.empty()) {
    fmt::format_to(print, "\n  {:<12} {:<10} {:<9} {:<12} {:<10} {}\n", "EXIT", "KIND", "STATE",
                   "DEVICE", "RTT", "SEEN AS");
    for (const auto& exit : snapshot.exits)
      fmt::format_to(print, "{} {:<12} {:<10} {:<9} {:<12} {:<10} {}{}\n", exit.current ? "*" : " ",
                     exit.name, exit.kind, exit.state, exit.device, milliseconds(exit.rtt_seconds),
                     join(exit.addresses), exit.code == "ok" ? "" : "  " + exit.reason);
  }
  if (!snapshot.targets.empty()) {
    fmt::format_to(print, "\n  {:<12} {:<40} {:<10} {}\n", "EXIT", "TARGET", "TOOK", "RESULT");
    for (const auto& one : snapshot.targets)
      fmt::format_to(print, "  {:<12} {:<40} {:<10} {}\n", one.exit.empty() ? "-" : one.exit,
                     one.target, one.known ? fmt::format("{:.1f} ms", one.seconds * 1000) : "-",
                     result_of(one));
  }
}

void print_tunnels(Printer print, const ipc::GatewaySnapshot& snapshot) {
  if (!snapshot.tunnels.empty()) {
    fmt::format_to(print, "\n  {:<12} {:<14} {:<10} {:<6} {:<10} {:<9} {:<10} {:<11} {:<11} {}\n",
                   "TUNNEL", "DEVICE", "BACKEND", "MTU", "PATH", "TRANSPORT", "HANDSHAKE",
                   "RECEIVED", "SENT", "ENDPOINT");
    for (const auto& tunnel : snapshot.tunnels)
      fmt::format_to(print, "  {:<12} {:<14} {:<10} {:<6} {:<10} {:<9} {:<10} {:<11} {:<11} {}\n",
                     tunnel.peer, tunnel.device, tunnel.present ? tunnel.backend : "absent",
                     tunnel.mtu, path(tunnel), tunnel.transport, age(tunnel.handshake_age_seconds),
                     human_bytes(tunnel.rx_bytes), human_bytes(tunnel.tx_bytes), tunnel.endpoint);
    std::set<std::string> versions;
    for (const auto& tunnel : snapshot.tunnels)
      if (!tunnel.version.empty()) versions.insert(tunnel.version);
    for (const auto& version : versions)
      fmt::format_to(print, "  wireguard-go {}\n", version);
  }
  if (!snapshot.peers.empty())
    fmt::format_to(print, "\n  {:<12} {:<9} {:<12} {}\n", "PEER", "REACHED", "HEARD", "HEARS US");
  for (const auto& peer : snapshot.peers)
    fmt::format_to(
        print, "  {:<12} {:<9} {:<12} {}\n", peer.peer, known(peer.reached),
        peer.heard_seconds_ago ? fmt::format("{:.1f} s ago", *peer.heard_seconds_ago) : "-",
        known(peer.hears_us));
  for (const auto& tunnel : snapshot.tunnels)
    if (!tunnel.key_in_force.empty())
      fmt::format_to(print, "  {} on {}: its {} is in force\n", tunnel.peer, tunnel.device,
                     tunnel.key_in_force);
  for (const auto& tunnel : snapshot.tunnels)
    if (!tunnel.transport_trouble.empty())
      fmt::format_to(print, "  {} on {}: no TLS: {}\n", tunnel.peer, tunnel.device,
                     tunnel.transport_trouble);
}

}  // namespace

std::string status_text(const ipc::GatewaySnapshot& snapshot) {
  std::string out;
  auto print = std::back_inserter(out);
  fmt::format_to(print, "{}\n\n", snapshot.diagnosis);
  fmt::format_to(print, "node {}   oceanid {}   since {}   configuration {}\n", snapshot.node,
                 snapshot.version, snapshot.started, snapshot.generation);
  if (!snapshot.configuration_error.empty())
    fmt::format_to(print, "the file is not in force: {}\n", snapshot.configuration_error);
  if (snapshot.confirm_within_seconds)
    fmt::format_to(
        print, "on probation: everything goes back in {:.0f} s unless `oceanid confirm` comes\n",
        *snapshot.confirm_within_seconds);
  fmt::format_to(
      print, "proxy: {}, {} tunnels open, {} requests, {} up, {} down, {} worker restarts\n",
      snapshot.worker_ready ? "accepting" : "worker not ready", snapshot.proxy.tunnels_open,
      snapshot.proxy.requests, human_bytes(snapshot.proxy.bytes_up),
      human_bytes(snapshot.proxy.bytes_down), snapshot.worker_restarts);
  if (snapshot.routing.enabled)
    fmt::format_to(
        print,
        "routing: {}, last change {:.1f} ms, {} leaks blocked, {} connections by the exit, {} "
        "reset\n",
        snapshot.routing.in_force ? "in force" : "NOT in force: " + snapshot.routing.error,
        snapshot.routing.last_apply_seconds * 1000, snapshot.routing.leaks_blocked,
        snapshot.routing.flows, snapshot.routing.flows_reset);
  if (const auto& table = snapshot.conntrack)
    fmt::format_to(print, "connections: {} of {} in the kernel's table, {} new ones dropped\n",
                   table->entries, table->limit, table->insert_failed + table->dropped);
  if (snapshot.routing.flowtable != "off")
    fmt::format_to(print, "flowtable: {}\n", snapshot.routing.flowtable);
  if (!snapshot.routing.fight.empty())
    fmt::format_to(print, "routing: {}\n", snapshot.routing.fight);
  print_exits(print, snapshot);
  if (snapshot.serving) print_serving(print, *snapshot.serving);
  print_tunnels(print, snapshot);
  if (snapshot.key) print_key(out, *snapshot.key);
  if (!snapshot.events.empty()) {
    fmt::format_to(print, "\nlast events\n");
    for (const auto& event : snapshot.events)
      fmt::format_to(print, "  {}  {:<8} {}\n", event.time, event.area, event.text);
  }
  return out;
}

}  // namespace oceanid::cli
