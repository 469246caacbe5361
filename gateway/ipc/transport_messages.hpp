#pragma once
// What netd and the transport process say to each other; see messages.hpp for the form. Keys and
// certificates are in `transport-configure` and nowhere else.

#include "gateway/ipc/json_types.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::ipc {

// ---- netd → transport -------------------------------------------------------------------------

struct TransportMaterial {  // PEM texts
  std::string certificate;
  std::string key;
  std::string authority;
};
BOOST_DESCRIBE_STRUCT(TransportMaterial, (), (certificate, key, authority))

struct TransportDial {
  std::string peer;
  std::string key;  // hexadecimal
  std::string host;
  TransportMaterial material;
  std::string proxy_target;
  std::string authorization;
};
BOOST_DESCRIBE_STRUCT(TransportDial, (), (peer, key, host, material, proxy_target, authorization))

struct TransportPeer {
  std::string peer;
  std::string key;
};
BOOST_DESCRIBE_STRUCT(TransportPeer, (), (peer, key))

// Everything that the process is to do. Descriptors: for each of `dials` the loopback socket of its
// shim; with `accept_at`, the listening socket and the responder's UDP socket.
inline constexpr std::string_view transport_configure_frame = "transport-configure";
struct TransportConfigure {
  std::string log_level;
  bool log_json = true;
  std::vector<TransportDial> dials;
  std::string accept_at;  // empty: nobody dials us
  TransportMaterial accept_material;
  std::vector<TransportPeer> accept_peers;
};
BOOST_DESCRIBE_STRUCT(TransportConfigure, (),
                      (log_level, log_json, dials, accept_at, accept_material, accept_peers))

inline constexpr std::string_view transport_order_frame = "transport-order";
struct TransportOrder {
  std::string peer;
  bool dial_tls = false;
  bool dial_proxied = false;
  bool deaf = false;
  std::uint64_t probe_every_ns = 0;
  bool operator==(const TransportOrder&) const = default;
};
BOOST_DESCRIBE_STRUCT(TransportOrder, (), (peer, dial_tls, dial_proxied, deaf, probe_every_ns))

// The answer to a `transport-want`. Descriptor: the socket, when `error` is empty.
inline constexpr std::string_view transport_socket_frame = "transport-socket";
struct TransportSocket {
  std::uint64_t number = 0;
  std::string error;
};
BOOST_DESCRIBE_STRUCT(TransportSocket, (), (number, error))

// ---- transport → netd -------------------------------------------------------------------------

inline constexpr std::string_view transport_want_frame = "transport-want";
struct TransportWant {
  std::uint64_t number = 0;
  std::uint32_t purpose = 0;  // tunnel::SocketPurpose
  std::string peer;
};
BOOST_DESCRIBE_STRUCT(TransportWant, (), (number, purpose, peer))

// What happened to one rung (tunnel::Transport) of a dialled peer.
inline constexpr std::string_view transport_links_frame = "transport-links";
struct TransportLinks {
  std::string peer;
  std::uint32_t rung = 0;
  std::uint64_t links = 0;  // connections that stand now
};
BOOST_DESCRIBE_STRUCT(TransportLinks, (), (peer, rung, links))

inline constexpr std::string_view transport_answer_frame = "transport-answer";
struct TransportAnswer {
  std::string peer;
  std::uint32_t rung = 0;
};
BOOST_DESCRIBE_STRUCT(TransportAnswer, (), (peer, rung))

inline constexpr std::string_view transport_trouble_frame = "transport-trouble";
struct TransportTrouble {
  std::string peer;
  std::uint32_t rung = 0;
  std::string why;
};
BOOST_DESCRIBE_STRUCT(TransportTrouble, (), (peer, rung, why))

inline constexpr std::string_view transport_counters_frame = "transport-counters";
struct TransportDropped {
  std::string peer;
  std::uint64_t dropped = 0;
};
BOOST_DESCRIBE_STRUCT(TransportDropped, (), (peer, dropped))
struct TransportCounters {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
  std::uint64_t sessions = 0;
  std::uint64_t connections = 0;
  std::vector<TransportDropped> dropped;  // datagrams, by dialled peer
};
BOOST_DESCRIBE_STRUCT(TransportCounters, (), (accepted, refused, sessions, connections, dropped))

}  // namespace oceanid::ipc
