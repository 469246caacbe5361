// The built-in rows of the address guard: the IANA IPv4 and IPv6 Special-Purpose Address Registries
// (every row), multicast, and what is not global unicast at all. `reachable` rows are exceptions
// inside a wider row: they take the table's denial away and leave the rest (own ranges, the
// operator) in force.
//
// We deny on purpose what the registries call globally reachable but what ends in the nearest
// network instead of on the internet (the PCP, TURN and SRP anycasts) or is no locator at all
// (ORCHIDs, drone identifiers).

#include "proxy/core/guard.hpp"

#include <array>

namespace oceanid::proxy {
namespace {

constexpr bool reachable = true;

constexpr std::array table = {
    // IPv4
    SpecialRange{"0.0.0.0/8", "this-network", "this network", "RFC 791"},
    SpecialRange{"10.0.0.0/8", "private-10", "private use", "RFC 1918"},
    SpecialRange{"100.64.0.0/10", "cgnat", "shared address space of carriers and meshes",
                 "RFC 6598"},
    SpecialRange{"127.0.0.0/8", "loopback", "loopback", "RFC 1122"},
    SpecialRange{"168.63.129.16/32", "cloud-platform",
                 "a cloud provider's agent on every virtual machine",
                 "Azure documentation, IP address 168.63.129.16"},
    SpecialRange{"169.254.0.0/16", "link-local", "link-local, cloud metadata among it", "RFC 3927"},
    SpecialRange{"172.16.0.0/12", "private-172", "private use", "RFC 1918"},
    SpecialRange{"192.0.0.0/24", "ietf-protocol", "IETF protocol assignments", "RFC 6890"},
    SpecialRange{"192.0.0.0/29", "ietf-protocol", "IPv4 service continuity", "RFC 7335"},
    SpecialRange{"192.0.0.8/32", "ietf-protocol", "IPv4 dummy address", "RFC 7600"},
    SpecialRange{"192.0.0.9/32", "ietf-protocol", "Port Control Protocol anycast, the nearest NAT",
                 "RFC 7723"},
    SpecialRange{"192.0.0.10/32", "ietf-protocol", "TURN anycast, the nearest relay", "RFC 8155"},
    SpecialRange{"192.0.0.170/32", "ietf-protocol", "NAT64/DNS64 discovery", "RFC 8880"},
    SpecialRange{"192.0.0.171/32", "ietf-protocol", "NAT64/DNS64 discovery", "RFC 8880"},
    SpecialRange{"192.0.2.0/24", "documentation", "documentation (TEST-NET-1)", "RFC 5737"},
    SpecialRange{"192.31.196.0/24", "as112", "AS112-v4", "RFC 7535", reachable},
    SpecialRange{"192.52.193.0/24", "amt", "AMT", "RFC 7450", reachable},
    SpecialRange{"192.88.99.0/24", "6to4-relay", "deprecated 6to4 relay anycast", "RFC 7526"},
    SpecialRange{"192.88.99.2/32", "6to4-relay", "6a44 relay anycast", "RFC 6751"},
    SpecialRange{"192.168.0.0/16", "private-192", "private use", "RFC 1918"},
    SpecialRange{"192.175.48.0/24", "as112", "direct delegation AS112 service", "RFC 7534",
                 reachable},
    SpecialRange{"198.18.0.0/15", "benchmarking", "benchmarking", "RFC 2544"},
    SpecialRange{"198.51.100.0/24", "documentation", "documentation (TEST-NET-2)", "RFC 5737"},
    SpecialRange{"203.0.113.0/24", "documentation", "documentation (TEST-NET-3)", "RFC 5737"},
    SpecialRange{"224.0.0.0/4", "multicast", "multicast", "RFC 5771"},
    SpecialRange{"240.0.0.0/4", "reserved", "reserved", "RFC 1112"},
    SpecialRange{"255.255.255.255/32", "broadcast", "limited broadcast", "RFC 919"},

    // IPv6. Only 2000::/3 is global unicast (IANA IPv6 address space); the three rows below are the
    // rest.
    SpecialRange{"::/3", "not-global", "outside global unicast 2000::/3", "RFC 4291"},
    SpecialRange{"4000::/2", "not-global", "outside global unicast 2000::/3", "RFC 4291"},
    SpecialRange{"8000::/1", "not-global", "outside global unicast 2000::/3", "RFC 4291"},
    SpecialRange{"::/128", "this-network", "unspecified", "RFC 4291"},
    SpecialRange{"::1/128", "loopback", "loopback", "RFC 4291"},
    SpecialRange{"::/96", "ipv4-compatible", "deprecated IPv4-compatible", "RFC 4291"},
    SpecialRange{"::ffff:0:0:0/96", "ipv4-translated", "IPv4-translated", "RFC 2765"},
    // Carriers that only the address inside can judge.
    SpecialRange{"::ffff:0:0/96", "ipv4-mapped", "IPv4-mapped", "RFC 4291", reachable},
    SpecialRange{"64:ff9b::/96", "nat64", "IPv4-IPv6 translation", "RFC 6052", reachable},
    SpecialRange{"64:ff9b:1::/48", "nat64-local", "local-use IPv4-IPv6 translation", "RFC 8215"},
    SpecialRange{"100::/64", "discard", "discard-only", "RFC 6666"},
    SpecialRange{"100:0:0:1::/64", "discard", "dummy prefix", "RFC 9780"},
    SpecialRange{"2001::/23", "ietf-protocol", "IETF protocol assignments", "RFC 2928"},
    SpecialRange{"2001::/32", "teredo", "Teredo", "RFC 4380"},
    SpecialRange{"2001:1::1/128", "ietf-protocol", "Port Control Protocol anycast, the nearest NAT",
                 "RFC 7723"},
    SpecialRange{"2001:1::2/128", "ietf-protocol", "TURN anycast, the nearest relay", "RFC 8155"},
    SpecialRange{"2001:1::3/128", "ietf-protocol", "DNS-SD service registration anycast",
                 "RFC 9665"},
    SpecialRange{"2001:2::/48", "benchmarking", "benchmarking", "RFC 5180"},
    SpecialRange{"2001:3::/32", "amt", "AMT", "RFC 7450", reachable},
    SpecialRange{"2001:4:112::/48", "as112", "AS112-v6", "RFC 7535", reachable},
    SpecialRange{"2001:10::/28", "orchid", "deprecated ORCHID, no locator", "RFC 4843"},
    SpecialRange{"2001:20::/28", "orchid", "ORCHIDv2, no locator", "RFC 7343"},
    SpecialRange{"2001:30::/28", "orchid", "drone remote identifiers, no locator", "RFC 9374"},
    SpecialRange{"2001:db8::/32", "documentation", "documentation", "RFC 3849"},
    SpecialRange{"2002::/16", "6to4", "6to4", "RFC 3056"},
    SpecialRange{"2620:4f:8000::/48", "as112", "direct delegation AS112 service", "RFC 7534",
                 reachable},
    SpecialRange{"3fff::/20", "documentation", "documentation", "RFC 9637"},
    SpecialRange{"5f00::/16", "srv6", "segment routing identifiers", "RFC 9602"},
    SpecialRange{"fc00::/7", "unique-local", "unique-local", "RFC 4193"},
    SpecialRange{"fe80::/10", "link-local", "link-local", "RFC 4291"},
    SpecialRange{"fec0::/10", "site-local", "deprecated site-local", "RFC 3879"},
    SpecialRange{"ff00::/8", "multicast", "multicast", "RFC 4291"},
};

}  // namespace

std::span<const SpecialRange> special_ranges() {
  return table;
}

}  // namespace oceanid::proxy
