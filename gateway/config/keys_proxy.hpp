#pragma once
// The keys of `proxy` and `forwards`.

#include "gateway/config/keys.hpp"
#include "proxy/core/settings.hpp"

#include <array>

namespace oceanid::config {

inline constexpr std::array listener_protocols{
    Choice{"http", proxy::ListenerProtocol::http},
    Choice{"socks5", proxy::ListenerProtocol::socks5},
    Choice{"transparent", proxy::ListenerProtocol::transparent}};
inline constexpr std::array intercept_modes{Choice{"redirect", proxy::InterceptMode::redirect},
                                            Choice{"tproxy", proxy::InterceptMode::tproxy}};
inline constexpr std::array policy_defaults{Choice{"allow", proxy::PolicyDefault::allow},
                                            Choice{"deny", proxy::PolicyDefault::deny},
                                            Choice{"report", proxy::PolicyDefault::report}};
inline constexpr std::array role_actions{Choice{"enforce", proxy::RoleAction::enforce},
                                         Choice{"report", proxy::RoleAction::report},
                                         Choice{"open", proxy::RoleAction::open}};
inline constexpr std::array forward_probes{
    Choice{"tcp", proxy::ForwardProbe::tcp}, Choice{"tls", proxy::ForwardProbe::tls},
    Choice{"postgres", proxy::ForwardProbe::postgres}, Choice{"none", proxy::ForwardProbe::none}};

inline constexpr EnumType<proxy::ListenerProtocol> listener_protocol{listener_protocols};
inline constexpr EnumType<proxy::InterceptMode> intercept_mode{intercept_modes};
inline constexpr EnumType<proxy::PolicyDefault> policy_default{policy_defaults};
inline constexpr EnumType<proxy::RoleAction> role_action{role_actions};
inline constexpr EnumType<proxy::ForwardProbe> forward_probe{forward_probes};

template <class Visitor>
void describe(Visitor& v, proxy::ListenerTls& s) {
  v.field({"certificate", "the listener's certificate chain, PEM", true}, s.certificate, file_path);
  v.field({"key", "its private key, PEM", true}, s.key, file_path);
  v.field({"client_ca", "clients must show a certificate of this authority"}, s.client_ca,
          Nullable{file_path});
  v.field({"crl", "revoked client certificates"}, s.crl, Nullable{file_path});
}

template <class Visitor>
void describe(Visitor& v, proxy::Intercept& s) {
  v.field({"sources", "whose connections are taken", true}, s.sources, List{prefix, true});
  v.field({"ports", "to which TCP ports; UDP to them is refused", true}, s.ports, List{port, true});
  v.field({"mode",
           "redirect translates their destination; tproxy leaves it, and needs a pods' bridge "
           "without bridge-nf-call-iptables"},
          s.mode, intercept_mode);
}

template <class Visitor>
void describe(Visitor& v, proxy::ListenerSettings& s) {
  v.field({"bind", "where to listen", true}, s.bind, bind_address);
  v.field({"protocol", "what clients speak"}, s.protocol, listener_protocol);
  v.field({"proxy_protocol", "clients' addresses come in a PROXY header"}, s.proxy_protocol,
          boolean);
  v.field({"trusted", "who may send a PROXY header"}, s.trusted, List{prefix});
  v.field({"tls", "TLS towards clients"}, s.tls, Nullable{Object{}});
  v.field({"intercept", "what a transparent listener takes (needs root: rules that bring it)"},
          s.intercept, Nullable{Object{}});
}

// `match` groups three members of a role.
struct RoleMatch {
  proxy::Role& role;
};

template <class Visitor>
void describe(Visitor& v, RoleMatch& s) {
  v.field({"sources", "clients' addresses"}, s.role.sources, List{prefix});
  v.field({"users", "user names"}, s.role.users, List{TextType{"a user name"}});
  v.field({"certificates", "names in clients' certificates"}, s.role.certificates,
          List{TextType{"a certificate's name"}});
}

template <class Visitor>
void describe(Visitor& v, proxy::RoleLimits& s) {
  v.field({"tunnels", "open at once; 0: no limit"}, s.tunnels, count_from_zero);
  v.field({"rate", "new tunnels; 0/s: no limit"}, s.rate_per_second, RateType{});
  v.field({"bandwidth", "of all tunnels and plain HTTP contents together; 0kbit/s: no limit"},
          s.bandwidth_bits, BandwidthType{});
}

template <class Visitor>
void describe(Visitor& v, proxy::Role& s) {
  v.field({"name", "unique", true}, s.name, name);
  RoleMatch match{s};
  v.field({"match", "who plays the role: all that is given must fit"}, match, Object{});
  v.field({"action", "report logs what enforce would refuse, open refuses only what deny names"},
          s.action, role_action);
  v.field({"allow", "where to: names, addresses, ports; the most specific entry counts"}, s.allow,
          List{DestinationType{}});
  v.field({"deny", "where not to; beats an equally specific allow"}, s.deny,
          List{DestinationType{}});
  v.field({"exit", "the only exit for this role; of several the first usable one"}, s.exit,
          Nullable{List{name, true}});
  v.field({"limits", "what the role may use"}, s.limits, Object{});
}

template <class Visitor>
void describe(Visitor& v, proxy::PolicySettings& s) {
  v.field({"default", "for clients without a role"}, s.default_action, policy_default);
  v.field({"roles", "in order, the first that matches counts"}, s.roles, List{Object{}});
}

template <class Visitor>
void describe(Visitor& v, proxy::GuardSettings& s) {
  v.field({"allow", "addresses that clients may reach although the built-in table says no"},
          s.allow, List{prefix});
  v.field({"deny", "addresses that clients may not reach; beats allow at equal length"}, s.deny,
          List{prefix});
}

template <class Visitor>
void describe(Visitor& v, proxy::DnsSettings& s) {
  v.field({"servers",
           "[]: the host's, whose search list, ndots and options hold either way; public ones are "
           "asked through the chosen exit"},
          s.servers, List{dns_server});
  v.field({"timeout", "a name must be resolved"}, s.timeout, duration);
  v.field({"cache", "names kept by each event loop for each exit"}, s.cache, count_from_zero);
}

template <class Visitor>
void describe(Visitor& v, proxy::Timeouts& s) {
  v.field({"head", "a request's head must be complete"}, s.head, duration);
  v.field({"connect", "all attempts at the target together"}, s.connect, duration);
  v.field({"attempt", "before the next address is tried as well (RFC 8305)"}, s.attempt, duration);
  v.field({"idle", "a tunnel without a byte ends"}, s.idle, duration);
  v.field({"fin", "after one side closed, for the other"}, s.fin, duration);
  v.field({"drain", "what runs may finish when the gateway stops"}, s.drain, duration_or_zero);
}

template <class Visitor>
void describe(Visitor& v, proxy::Limits& s) {
  v.field({"tunnels", "open at once"}, s.tunnels, count_from_one);
  v.field({"per_client", "open at once from one address; 0: no limit"}, s.per_client,
          count_from_zero);
  v.field({"head_bytes", "of a request's head"}, s.head_bytes,
          CountType<std::uint32_t>{1024, 1'048'576, "bytes"});
  v.field({"head_fields", "of a request's head"}, s.head_fields,
          CountType<std::uint32_t>{1, 10'000});
}

template <class Visitor>
void describe(Visitor& v, proxy::BreakerSettings& s) {
  v.field({"failures", "in a row before a target is left alone"}, s.failures, count_from_one);
  v.field({"open", "at first"}, s.open, duration);
  v.field({"open_max", "at most"}, s.open_max, duration);
}

template <class Visitor>
void describe(Visitor& v, proxy::ProxySettings& s) {
  v.field({"workers", "event loops; auto: one for each core"}, s.workers, WorkersType{});
  v.field({"user", "account of the process that meets clients; nobody when it is missing"}, s.user,
          TextType{"the name of an account"});
  v.field({.name = "listeners", .doc = "where clients come in", .default_text = "bind [::]:3128"},
          s.listeners, List{Object{}});
  v.field({"clients", "who may use the proxy"}, s.clients, List{prefix});
  v.field({"users_file",
           "user names and passwords (htpasswd: bcrypt, $5$, $6$); with it everybody "
           "without a certificate must give one"},
          s.users_file, Nullable{file_path});
  v.field({"connect_ports", "where CONNECT may go; []: anywhere"}, s.connect_ports, List{port});
  v.field({"policy", "who may go where"}, s.policy, Object{});
  v.field({"guard",
           "exceptions to the built-in table of special-purpose addresses; the longest prefix "
           "wins"},
          s.guard, Object{});
  v.field({"dns", "how names are resolved"}, s.dns, Object{});
  v.field({"timeouts", "of a connection"}, s.timeouts, Object{});
  v.field({"limits", "of the whole proxy"}, s.limits, Object{});
  v.field({"breaker", "leaves a failing target alone for a while"}, s.breaker, Object{});
  v.field({"parent",
           "a proxy that clients' connections go through, by CONNECT; user and password "
           "percent-encoded; forwards stay direct"},
          s.parent, Nullable{ParentType{}});
}

template <class Visitor>
void describe(Visitor& v, proxy::ForwardSettings& s) {
  v.field({"name", "unique", true}, s.name, name);
  v.field({"bind", "where clients connect", true}, s.bind, bind_address);
  v.field({"to", "targets in order of preference; they do not pass the guard", true}, s.to,
          List{host_port, true});
  v.field({"clients", "null: proxy.clients"}, s.clients, Nullable{List{prefix}});
  v.field({"probe", "how the target is checked"}, s.probe, forward_probe);
  v.field({"max_connections", "open at once"}, s.max_connections, count_from_one);
  v.field({"per_client", "open at once from one address; 0: no limit"}, s.per_client,
          count_from_zero);
  v.field({"proxy_protocol", "tell the target the client in a PROXY v2 header"}, s.proxy_protocol,
          boolean);
  v.field(
      {"exit",
       "the only exit for this forward, of several the first usable one; null: the selected one"},
      s.exit, Nullable{List{name, true}});
}

}  // namespace oceanid::config
