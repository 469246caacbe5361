#pragma once
// A worker's network state in small: steering with a bypass, an egress table with one exit, a table
// for bound sockets, nft, sysctls and a tunnel link. `exit` is the device of the selected exit.

#include "routing/core/model.hpp"

#include <string>

namespace oceanid::routing {

inline Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
inline IfName device(std::string_view text) {
  return IfName::parse(text).value();
}

inline Route closed_default(Family family, std::uint32_t table) {
  Route out;
  out.family = family;
  out.table = table;
  out.destination = Prefix::any(family);
  out.type = RouteType::unreachable;
  out.metric = 4294967295;
  return out;
}

inline Route open_default(Family family, std::uint32_t table, std::string_view name) {
  Route out;
  out.family = family;
  out.table = table;
  out.destination = Prefix::any(family);
  out.metric = 10;
  out.device = device(name);
  return out;
}

inline Rule rule(std::uint32_t priority, RuleAction action) {
  Rule out;
  out.priority = priority;
  out.action = action;
  return out;
}

inline std::string sample_offload(std::string_view number) {
  return "table inet oceanid_flow {  # " + std::string(number) + "\n}\n";
}

inline std::string sample_nft(std::string_view exit) {
  return "table inet oceanid {}\ndelete table inet oceanid\n"
         "table inet oceanid {\n"
         "  chain guard {\n"
         "    type filter hook forward priority -5; policy accept;\n"
         "    iifname \"cni0\" oifname != { \"oc-one\", \"oc-two\" } counter drop comment \"" +
         std::string(exit) +
         "\"\n"
         "  }\n"
         "}\n";
}

inline NetworkState sample_state(std::string_view exit = "oc-one") {
  NetworkState out;
  Rule bypass = rule(5110, Goto{5190});
  bypass.from = prefix("10.42.1.0/24");
  bypass.to = prefix("10.42.0.0/16");
  bypass.iif = device("cni0");
  Rule steer = rule(5150, Lookup{13128});
  steer.from = prefix("10.42.1.0/24");
  steer.iif = device("cni0");
  Rule exempt = rule(5100, Goto{5190});
  exempt.mark = Mark{0x01000000, 0x0f000000};
  Rule database = rule(5140, Lookup{13129});
  database.ip_protocol = 6;
  database.destination_port = 5432;
  database.to = prefix("192.0.2.7/32");
  Rule bound = rule(5160, Lookup{13129});
  bound.oif = device("oc-one");
  Rule block = rule(5170, Unreachable{});
  block.family = Family::v6;
  block.iif = device("cni0");
  out.rules = {exempt, bypass, database, steer, bound, block, rule(5190, Nop{})};
  out.routes = {closed_default(Family::v4, 13128), closed_default(Family::v6, 13128),
                open_default(Family::v4, 13128, exit), closed_default(Family::v4, 13129),
                open_default(Family::v4, 13129, "oc-one")};
  Route peer = open_default(Family::v4, 13131, "oc-two");
  peer.destination = prefix("10.42.7.0/24");
  peer.metric = 0;
  peer.mtu = 1380;
  out.routes.push_back(peer);
  out.links = {{device("oc-one"), 1420, {{IpAddress::parse("10.99.0.3").value(), 32}}},
               {device("oc-two"), 1400, {{IpAddress::parse("10.99.0.3").value(), 32}}}};
  out.nft.text = sample_nft("kill switch");
  out.sysctls = {{"net/ipv4/conf/all/src_valid_mark", "1", true},
                 {"net/ipv4/conf/oc-one/rp_filter", "2", true}};
  return out;
}

}  // namespace oceanid::routing
