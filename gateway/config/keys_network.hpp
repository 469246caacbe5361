#pragma once
// The keys of `exits`, `serve_exit` and `routing`.

#include "gateway/base/exit.hpp"
#include "gateway/config/keys.hpp"
#include "routing/core/settings.hpp"

#include <array>

namespace oceanid::config {

inline constexpr std::array ipv6_modes{Choice{"block", routing::Ipv6Mode::block},
                                       Choice{"exit", routing::Ipv6Mode::exit},
                                       Choice{"ignore", routing::Ipv6Mode::ignore}};
inline constexpr EnumType<routing::Ipv6Mode> ipv6_mode{ipv6_modes};

inline constexpr std::array packet_protocols{Choice{"tcp", routing::Transport::tcp},
                                             Choice{"udp", routing::Transport::udp}};
inline constexpr EnumType<routing::Transport> packet_protocol{packet_protocols};

// auto | masquerade | ADDRESS | [ADDRESS, ...] | { CIDR: ADDRESS }
struct SnatType {
  using Value = routing::Snat;
  void read(Report& report, const YamlNode& node, const std::string& path, Value& value) const;
  std::string allowed() const {
    return "auto, masquerade, an address, a list of addresses, or a mapping of CIDR: address";
  }
  std::string show(const Value& value) const;
  std::string schema() const;
};

// The rules of all our preferences must stand before the kernel's main (32766).
inline constexpr CountType<std::uint32_t> rule_priority{1, 32'000};
inline constexpr CountType<std::uint32_t> exit_priority{1, 1'000'000};
inline constexpr CountType<std::uint32_t> table_number{1, 4'294'000'000};

template <class Visitor>
void describe(Visitor& v, ExitSettings& s) {
  v.field({"name", "unique", true}, s.name, name);
  v.field({"peer", "reached through this peer of tunnel.peers"}, s.peer, Nullable{NameType{9}});
  v.field({"self", "this node's own uplink, see serve_exit"}, s.self, boolean);
  v.field({"interface", "an interface that is not ours"}, s.interface, Nullable{interface_name});
  v.field({"gateway", "next hop on the interface; null: point to point"}, s.gateway,
          Nullable{address});
  v.field({"address", "what the world must see"}, s.addresses, List{address});
  v.field({"priority",
           "less is better; of equal ones the healthier, then the faster; null: behind the one "
           "before it"},
          s.priority, Nullable{exit_priority});
}

template <class Visitor>
void describe(Visitor& v, routing::ServeExitSettings& s) {
  v.field({"uplink", "the interface to the internet", true}, s.uplink, interface_name);
  v.field({"snat", "the source address of what leaves"}, s.snat, SnatType{});
  v.field({"address", "what the world sees; differs from snat behind a provider's 1:1 NAT"},
          s.addresses, List{address});
  v.field({"clients", "who may leave through this node: pods and peers' tunnel addresses"},
          s.clients, List{prefix});
  v.field({"allow", "special-purpose or on-link ranges that clients may reach through us"}, s.allow,
          List{prefix});
  v.field({"accounting", "the kernel counts every connection's bytes (nf_conntrack_acct)"},
          s.accounting, boolean);
  v.field({"flowtable",
           "clients' established connections skip the rule set, where the kernel can; see "
           "SAFETY.md"},
          s.flowtable, boolean);
  v.field({"per_client",
           "connections open at once from one address, of IPv6 from one /64; 0: no limit"},
          s.per_client, count_from_zero);
}

template <>
inline routing::RoutingSettings initial() {
  routing::RoutingSettings out;
  out.interfaces = {*IfName::parse("cni0")};
  out.bypass = {*Prefix::parse("10.42.0.0/16"), *Prefix::parse("10.43.0.0/16"),
                *Prefix::parse("100.64.0.0/10")};
  return out;
}

template <class Visitor>
void describe(Visitor& v, routing::SelectionRule& s) {
  v.field({"sources", "pods' addresses, within routing.sources; []: all"}, s.sources, List{prefix});
  v.field({"destinations", "where to; []: everywhere"}, s.destinations, List{prefix});
  v.field({"ports", "to which ports; []: all"}, s.ports, List{port});
  v.field({"protocol", "null: with ports both, without ports everything"}, s.protocol,
          Nullable{packet_protocol});
  v.field({"exit",
           "the name of an exit (that one or nothing), active (the selected one) or none (as if "
           "we were not there)",
           true},
          s.exit, name);
}

template <class Visitor>
void describe(Visitor& v, routing::RoutingSettings& s) {
  v.field({"sources", "this node's own pods", true}, s.sources, List{prefix, true});
  v.field({"interfaces", "where they come from"}, s.interfaces, List{interface_name, true});
  v.field({"bypass", "destinations that never take an exit"}, s.bypass, List{prefix});
  v.field({"bypass_file", "more of them, one address or prefix a line; followed when it changes"},
          s.bypass_file, Nullable{file_path});
  v.field({"nodes", "node addresses beyond peers' endpoints and on-link ones, always bypassed"},
          s.nodes, List{prefix});
  v.field({"destinations", "only these take the exit; []: all not bypassed"}, s.destinations,
          List{prefix});
  v.field(
      {"destinations_file", "more of them, one address or prefix a line; followed when it changes"},
      s.destinations_file, Nullable{file_path});
  v.field({"ports", "only these (TCP and UDP) take the exit; []: all"}, s.ports, List{port});
  v.field({"selection",
           "in order, the first that fits counts; what none fits is decided by destinations and "
           "ports"},
          s.selection, List{Object{}});
  v.field({"exit", "the only exit for routed traffic; null: the selected one"}, s.exit,
          Nullable{name});
  v.field({"ipv6", "what happens to pods' IPv6"}, s.ipv6, ipv6_mode);
  v.field({"kill_switch", "nothing leaves by the uplink when no exit is usable"}, s.kill_switch,
          boolean);
  v.field({"flowtable",
           "established connections between pods and an exit's tunnel skip the rule set, where the "
           "kernel can; see SAFETY.md"},
          s.flowtable, boolean);
  v.field({"mark", "four bits of the packet mark: 1 exempt, 2 intercepted, 4 tunnel underlay"},
          s.mark, MarkType{});
  v.field({"priority", "first of 91 rule preferences"}, s.priority, rule_priority);
  v.field({"table", "of the active exit; one more for each exit, then three of our own"}, s.table,
          table_number);
  v.field(
      {"drain", "connections stay with an exit so long after a better one is back; 0s: no time"},
      s.drain, duration_or_zero);
  v.field({"confirm", "a change is rolled back unless confirmed in time; 0s: off"}, s.confirm,
          duration_or_zero);
}

}  // namespace oceanid::config
