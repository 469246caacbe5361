#pragma once
// What the operator says about the proxy and the forwards: `proxy:` and `forwards:` of the
// configuration as plain values, already validated. Durations are milliseconds,
// bandwidth is bit/s.

#include "gateway/base/exit.hpp"
#include "gateway/base/net_types.hpp"
#include "proxy/core/parent.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::proxy {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

struct ListenerTls {
  std::string certificate;  // PEM files
  std::string key;
  std::optional<std::string> client_ca;
  std::optional<std::string> crl;
  bool operator==(const ListenerTls&) const = default;
};

enum class ListenerProtocol : std::uint8_t { http, socks5, transparent };

// How connections come to a transparent listener: with another destination, or as they are.
enum class InterceptMode : std::uint8_t { redirect, tproxy };

struct Intercept {
  std::vector<Prefix> sources;
  std::vector<std::uint16_t> ports;
  InterceptMode mode = InterceptMode::redirect;
  bool operator==(const Intercept&) const = default;
};

struct ListenerSettings {
  SocketAddress bind;
  ListenerProtocol protocol = ListenerProtocol::http;
  bool proxy_protocol = false;
  std::vector<Prefix> trusted;  // who may send a PROXY protocol header
  std::optional<ListenerTls> tls;
  std::optional<Intercept> intercept;
  bool takes_by_tproxy() const { return intercept && intercept->mode == InterceptMode::tproxy; }
  bool operator==(const ListenerSettings&) const = default;
};

enum class PolicyDefault : std::uint8_t { allow, deny, report };
enum class RoleAction : std::uint8_t { enforce, report, open };

struct RoleLimits {
  std::uint32_t tunnels = 0;  // 0: no limit, here and below
  std::uint32_t rate_per_second = 0;
  std::uint64_t bandwidth_bits = 0;
  bool operator==(const RoleLimits&) const = default;
};

struct Role {
  std::string name;
  std::vector<Prefix> sources;
  std::vector<std::string> users;
  std::vector<std::string> certificates;
  RoleAction action = RoleAction::enforce;
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  ExitPin exit;
  RoleLimits limits;
  bool operator==(const Role&) const = default;
};

struct PolicySettings {
  PolicyDefault default_action = PolicyDefault::allow;
  std::vector<Role> roles;
  bool operator==(const PolicySettings&) const = default;
};

struct GuardSettings {
  std::vector<Prefix> allow;
  std::vector<Prefix> deny;
  bool operator==(const GuardSettings&) const = default;
};

struct DnsSettings {
  std::vector<SocketAddress> servers;  // port 53 when the operator gave none; empty: the host's
  milliseconds timeout = 5s;
  std::uint32_t cache = 10000;  // entries
  bool operator==(const DnsSettings&) const = default;
};

struct Timeouts {
  milliseconds head = 10s;
  milliseconds connect = 12s;
  milliseconds attempt = 250ms;  // RFC 8305 connection attempt delay
  milliseconds idle = 1h;
  milliseconds fin = 60s;
  milliseconds drain = 30s;
  bool operator==(const Timeouts&) const = default;
};

struct Limits {
  std::uint32_t tunnels = 50000;
  std::uint32_t per_client = 0;
  std::uint32_t head_bytes = 65536;
  std::uint32_t head_fields = 100;
  bool operator==(const Limits&) const = default;
};

struct BreakerSettings {
  std::uint32_t failures = 5;
  milliseconds open = 1s;
  milliseconds open_max = 60s;
  bool operator==(const BreakerSettings&) const = default;
};

enum class ForwardProbe : std::uint8_t { tcp, tls, postgres, none };

struct ForwardSettings {
  std::string name;
  SocketAddress bind;
  std::vector<HostPort> to;                    // in order of preference; does not pass the guard
  std::optional<std::vector<Prefix>> clients;  // none: ProxySettings::clients
  ForwardProbe probe = ForwardProbe::postgres;
  std::uint32_t max_connections = 200;
  std::uint32_t per_client = 0;
  bool proxy_protocol = false;  // send PROXY v2 to the target
  ExitPin exit;
  bool operator==(const ForwardSettings&) const = default;
};

std::vector<Prefix> default_clients();

struct ProxySettings {
  std::uint32_t workers = 0;  // event loops; 0: one per core
  std::string user = "oceanid";
  std::vector<ListenerSettings> listeners;
  std::vector<Prefix> clients = default_clients();
  std::optional<std::string> users_file;
  std::vector<std::uint16_t> connect_ports = {443, 5432, 6432, 8443};  // empty: any
  PolicySettings policy;
  GuardSettings guard;
  DnsSettings dns;
  Timeouts timeouts;
  Limits limits;
  BreakerSettings breaker;
  std::optional<ParentProxy> parent;
  bool operator==(const ProxySettings&) const = default;
};

bool speaks_tls(const ProxySettings& settings);  // to any client

}  // namespace oceanid::proxy
