#pragma once
// What the operator says about tunnels and their health: `tunnel:` and `health:` of the
// configuration as plain values, already validated. MTU in bytes, durations in
// milliseconds.

#include "gateway/base/net_types.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::tunnel {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

enum class BackendChoice : std::uint8_t { automatic, kernel, userspace };
enum class TransportChoice : std::uint8_t { automatic, udp, tls };

struct TlsAccept {
  SocketAddress bind;
  std::optional<std::string> certificate;  // none: one is made up, the peers' keys prove both sides
  std::optional<std::string> key;
  std::optional<std::string> client_ca;
  std::uint16_t responder = 51822;  // UDP: answers peers that ask whether UDP passes
  bool operator==(const TlsAccept&) const = default;
};

struct TlsDial {
  HostPort endpoint;
  std::optional<std::string> ca;
  std::optional<std::string> certificate;
  std::optional<std::string> key;
  std::optional<std::string> proxy;
  bool operator==(const TlsDial&) const = default;
};

struct PeerSettings {
  std::string name;        // [a-z0-9-], at most 9 characters
  std::string public_key;  // base64, 32 bytes
  std::optional<std::string> next_public_key;
  std::optional<std::string> preshared_key_file;
  std::optional<HostPort> endpoint;  // none: it dials us
  std::vector<IpAddress> addresses;  // its tunnel addresses
  std::vector<Prefix> networks;      // what lives behind it
  milliseconds keepalive = 25s;      // whole seconds; 0: off
  std::optional<std::string> via;
  TransportChoice transport = TransportChoice::automatic;
  std::optional<TlsDial> tls;
  bool operator==(const PeerSettings&) const = default;
};

struct TunnelSettings {
  std::optional<std::string> private_key_file;  // none: STATE_DIR/private.key
  std::chrono::hours key_lifetime = std::chrono::days(90);
  std::optional<std::uint16_t> listen = 51820;  // none: nobody dials us
  std::uint16_t probe = 51821;
  std::vector<IpAddress> addresses;  // this node's own tunnel addresses
  BackendChoice backend = BackendChoice::automatic;
  std::string wireguard_go = "wireguard-go";
  std::optional<unsigned> mtu;  // none: auto
  milliseconds mtu_raise = 10min;
  milliseconds return_after = 1min;  // of UDP that answers, from a lower rung back to it
  bool overlay = false;
  std::vector<SocketAddress> dns;  // servers for endpoint names; empty: the host's
  std::optional<TlsAccept> tls;
  std::vector<PeerSettings> peers;
  bool operator==(const TunnelSettings&) const = default;
};

// One of `health.targets`: which check, and the text of its argument.
struct HealthTarget {
  enum class Kind : std::uint8_t { tls, dns, postgres, http, tcp, ready };
  Kind kind = Kind::tcp;
  std::string target;
  std::optional<unsigned> status;  // http only
  bool operator==(const HealthTarget&) const = default;
};

struct ExitIpCheck {
  std::optional<std::string> url;
  std::vector<IpAddress> expect;
  milliseconds interval = 60s;
  bool operator==(const ExitIpCheck&) const = default;
};

struct HealthSettings {
  milliseconds interval = 200ms;
  std::uint32_t down_after = 3;
  milliseconds hold = 10s;
  bool damping = true;
  std::vector<HealthTarget> targets;
  milliseconds target_interval = 2s;
  milliseconds target_timeout = 2s;
  ExitIpCheck exit_ip;
  bool operator==(const HealthSettings&) const = default;
};

}  // namespace oceanid::tunnel
