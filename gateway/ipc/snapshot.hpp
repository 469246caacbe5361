#pragma once
// The state of this gateway as netd knows it: made once a second and on every change, shown by
// `oceanid status`, /api/v1/status, /metrics and the health endpoints. Plain values, seconds and
// bytes.

#include "gateway/ipc/json_types.hpp"
#include "gateway/ipc/messages.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::ipc {

inline constexpr int status_format = 1;  // bumped when a field changes its meaning or goes away

struct ExitView {
  std::string name;
  std::string kind;     // "tunnel" | "self" | "interface"
  std::string state;    // "admin_down" | "init" | "up" | "degraded" | "suspect" | "down" | "hold"
  bool usable = false;  // in that state traffic may leave by it
  double state_seconds = 0;  // since when
  std::string code;          // of the diagnosis; stable
  bool current = false;
  std::string device;
  std::vector<IpAddress> addresses;
  std::string reason;
  std::optional<double> rtt_seconds;
  std::optional<double> loss_ratio;  // of the echoes of about ten seconds
};
BOOST_DESCRIBE_STRUCT(ExitView, (),
                      (name, kind, state, usable, state_seconds, code, current, device, addresses,
                       reason, rtt_seconds, loss_ratio))

// A target of health.targets, or "exit_ip", through one exit.
struct TargetView {
  std::string exit;  // empty: by the host's own routes
  std::string target;
  bool known = false;
  bool good = true;
  std::string error;
  double seconds = 0;  // how long the last probe took
  std::uint64_t good_total = 0;
  std::uint64_t failed_total = 0;
  std::optional<std::int32_t> certificate_days;
  std::string seen;              // exit_ip: the address
  std::uint64_t mismatches = 0;  // exit_ip: times that it was not the exit's
};
BOOST_DESCRIBE_STRUCT(TargetView, (),
                      (exit, target, known, good, error, seconds, good_total, failed_total,
                       certificate_days, seen, mismatches))

// One path, as far as it was measured; bytes of an outer packet.
struct PathView {
  std::string family;  // "ipv4" | "ipv6"
  std::string state;   // of the search: "base" | "searching" | "complete" | "error"
  bool answered = false;
  std::optional<std::uint32_t> bytes;  // both directions carry it
  std::optional<std::uint32_t> there;
  std::optional<std::uint32_t> back;
  bool below_floor = false;  // IPv6 needs more inside
  std::uint64_t black_holes = 0;
};
BOOST_DESCRIBE_STRUCT(PathView, (),
                      (family, state, answered, bytes, there, back, below_floor, black_holes))

struct TunnelView {
  std::string peer;
  std::string device;
  std::string backend;  // "kernel" | "userspace"
  std::string version;  // of the wireguard-go that runs; empty: not known, or the kernel's own
  bool present = false;
  std::string endpoint;
  std::optional<double> handshake_age_seconds;
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_bytes = 0;
  std::uint32_t mtu = 0;
  std::optional<bool> answers;  // in-tunnel echo; none: not probed
  std::optional<double> rtt_seconds;
  std::optional<PathView> path;
  std::uint32_t full_size_missing = 0;  // in-tunnel echoes as large as the MTU, in a row
  std::optional<bool> hears_us;         // the peer's own word; none: it does not ask us for echoes
  std::string key_in_force;  // "public_key" | "next_public_key" while both are named; else empty
  std::string transport;     // "udp" | "udp-443" | "tls" | "tls-proxy"
  std::string transport_trouble;        // why TLS could not be had, when it was last asked for
  std::uint64_t transport_dropped = 0;  // datagrams that TLS would have delivered too late
};
BOOST_DESCRIBE_STRUCT(TunnelView, (),
                      (peer, device, backend, version, present, endpoint, handshake_age_seconds,
                       rx_bytes, tx_bytes, mtu, answers, rtt_seconds, path, full_size_missing,
                       hears_us, key_in_force, transport, transport_trouble, transport_dropped))

// One peer, as this node reaches it.
struct PeerView {
  std::string peer;
  bool dialled = false;         // this node asks it for echoes; else it asks this node
  std::optional<bool> reached;  // none: nothing known yet
  std::optional<double> heard_seconds_ago;
  std::optional<bool> hears_us;  // its own word; none: it does not ask us for echoes
};
BOOST_DESCRIBE_STRUCT(PeerView, (), (peer, dialled, reached, heard_seconds_ago, hears_us))

struct KeyPeerView {
  std::string peer;
  std::string state;  // "silent" | "unknown" | "ready" | "turned"
};
BOOST_DESCRIBE_STRUCT(KeyPeerView, (), (peer, state))

// This node's own WireGuard key and how far its rotation is.
struct KeyView {
  std::string public_key;
  std::optional<double> age_seconds;
  double lifetime_seconds = 0;
  bool too_old = false;
  std::string rotation;  // "none" | "waiting" | "announced" | "turned"
  std::optional<std::string> next_public_key;
  std::string held;  // why the rotation does not go on; empty: it does
  std::vector<KeyPeerView> peers;
  std::uint64_t messages_refused = 0;
};
BOOST_DESCRIBE_STRUCT(KeyView, (),
                      (public_key, age_seconds, lifetime_seconds, too_old, rotation,
                       next_public_key, held, peers, messages_refused))

struct DriftView {
  std::string kind;     // "rule" | "route" | "nft" | "link" | "address" | "sysctl"
  std::string culprit;  // name of the process, "unknown" or "other"
  std::uint64_t count = 0;
};
BOOST_DESCRIBE_STRUCT(DriftView, (), (kind, culprit, count))

struct RoutingView {
  bool enabled = false;
  bool in_force = false;  // the last plan stands in the kernel
  std::string error;
  double last_apply_seconds = 0;
  std::uint64_t applies = 0;
  std::uint64_t changes = 0;
  std::uint64_t leaks_blocked = 0;  // by nftables; what routing refuses never gets there
  std::uint64_t flows = 0;          // connections of pods through the active exit
  std::uint64_t flows_reset = 0;    // after a switch, since the start
  std::uint64_t flows_unknown = 0;  // not kept track of for want of room
  std::uint64_t flow_overruns = 0;  // times that the kernel dropped notices of connections
  bool watched = false;             // changes by others are noticed by events; else by an audit
  std::vector<DriftView> drift;
  std::optional<double> last_drift_repair_seconds;  // from the first notice
  std::string fight;  // who undoes our work again and again; empty: nobody
  std::string flowtable =
      "off";  // "in use", "waiting" (for a device, or a switch to be over), "refused: ..."
};
BOOST_DESCRIBE_STRUCT(RoutingView, (),
                      (enabled, in_force, error, last_apply_seconds, applies, changes,
                       leaks_blocked, flows, flows_reset, flows_unknown, flow_overruns, watched,
                       drift, last_drift_repair_seconds, fight, flowtable))

// The kernel's table of connections, of this network namespace.
struct ConntrackView {
  std::uint64_t entries = 0;
  std::uint64_t limit = 0;
  std::uint64_t insert_failed = 0;
  std::uint64_t dropped = 0;
};
BOOST_DESCRIBE_STRUCT(ConntrackView, (), (entries, limit, insert_failed, dropped))

// How many ports an exit's address has taken towards one destination.
struct PortBudgetView {
  std::string address;
  std::string destination;  // ADDRESS:PORT/PROTOCOL
  std::uint64_t used = 0;
  std::uint64_t available = 0;
  double ratio = 0;
};
BOOST_DESCRIBE_STRUCT(PortBudgetView, (), (address, destination, used, available, ratio))

struct ClientDestinationView {
  std::string destination;  // ADDRESS:PORT/PROTOCOL
  std::uint64_t bytes = 0;
  std::uint64_t flows = 0;
};
BOOST_DESCRIBE_STRUCT(ClientDestinationView, (), (destination, bytes, flows))

// Packets and bytes of connections that have ended; the others are `open`.
struct ClientView {
  std::string address;
  std::uint64_t open = 0;
  std::uint64_t flows = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t packets_up = 0;
  std::uint64_t packets_down = 0;
  std::vector<ClientDestinationView> destinations;
};
BOOST_DESCRIBE_STRUCT(ClientView, (),
                      (address, open, flows, bytes_up, bytes_down, packets_up, packets_down,
                       destinations))

struct ClientNetworkView {  // a /24 or /64; "other" is what found no room
  std::string network;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t flows = 0;
};
BOOST_DESCRIBE_STRUCT(ClientNetworkView, (), (network, bytes_up, bytes_down, flows))

// What this node does as an exit: the fullest destinations, the largest clients.
struct ServingView {
  std::uint64_t flows_open = 0;
  std::uint64_t clients_known = 0;
  std::uint64_t overruns = 0;  // times that the kernel dropped notices, and all was listed again
  std::uint64_t refused = 0;   // packets that would have begun a connection over the limit
  std::vector<PortBudgetView> ports;
  std::vector<ClientView> clients;
  std::vector<ClientNetworkView> networks;
};
BOOST_DESCRIBE_STRUCT(ServingView, (),
                      (flows_open, clients_known, overruns, refused, ports, clients, networks))

struct FailoverView {
  std::string from;
  std::string to;
  std::string reason;
  std::uint64_t count = 0;
};
BOOST_DESCRIBE_STRUCT(FailoverView, (), (from, to, reason, count))

struct EventView {
  std::string time;
  std::string area;
  std::string text;
};
BOOST_DESCRIBE_STRUCT(EventView, (), (time, area, text))

struct GatewaySnapshot {
  int format = status_format;
  std::string node;
  std::string version;
  std::string connector_id;
  std::string started;
  std::uint64_t generation = 0;     // of the configuration in force
  std::string configuration_error;  // why the file is not what is in force; empty: it is
  std::optional<double>
      confirm_within_seconds;   // the configuration goes back then; none: it stands
  std::uint64_t rollbacks = 0;  // changes that nobody confirmed, since the start
  bool worker_ready = false;
  std::uint64_t worker_restarts = 0;
  std::string diagnosis;
  std::string diagnosis_code;  // stable
  std::vector<ExitView> exits;
  std::vector<TunnelView> tunnels;
  std::vector<PeerView> peers;
  std::optional<KeyView> key;
  RoutingView routing;
  std::optional<ConntrackView> conntrack;  // where pods are routed or clients served
  std::optional<ServingView> serving;      // where clients are served
  std::vector<FailoverView> failovers;
  std::optional<double> failover_seconds;  // the last one: from silence to the other exit's route
  std::vector<TargetView> targets;
  std::vector<EventView> events;
  Counters proxy;
};
BOOST_DESCRIBE_STRUCT(GatewaySnapshot, (),
                      (format, node, version, connector_id, started, generation,
                       configuration_error, confirm_within_seconds, rollbacks, worker_ready,
                       worker_restarts, diagnosis, diagnosis_code, exits, tunnels, peers, key,
                       routing, conntrack, serving, failovers, failover_seconds, targets, events,
                       proxy))

}  // namespace oceanid::ipc
