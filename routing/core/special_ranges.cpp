#include "routing/core/special_ranges.hpp"

#include <algorithm>
#include <span>
#include <string_view>

namespace oceanid::routing {
namespace {

constexpr std::string_view special4[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4"};

// 64:ff9b::/96 and 2002::/16 are reachable as such but carry an IPv4 address that need not be.
constexpr std::string_view special6[] = {
    "::/96",          "::ffff:0:0/96", "64:ff9b::/96",  "64:ff9b:1::/48", "100::/64",
    "100:0:0:1::/64", "2001::/23",     "2001:db8::/32", "2002::/16",      "3fff::/20",
    "5f00::/16",      "fc00::/7",      "fe80::/10",     "fec0::/10",      "ff00::/8"};

constexpr std::string_view private_ranges[] = {"10.0.0.0/8",    "172.16.0.0/12",  "192.168.0.0/16",
                                               "100.64.0.0/10", "169.254.0.0/16", "fc00::/7",
                                               "fe80::/10"};

std::vector<Prefix> parse_all(std::span<const std::string_view> texts) {
  std::vector<Prefix> out;
  for (const std::string_view text : texts)
    out.push_back(Prefix::parse(text).value());
  return out;
}

}  // namespace

const std::vector<Prefix>& special_purpose_ranges(Family family) {
  static const std::vector<Prefix> v4 = parse_all(special4);
  static const std::vector<Prefix> v6 = parse_all(special6);
  return family == Family::v4 ? v4 : v6;
}

bool is_private(const Prefix& prefix) {
  static const std::vector<Prefix> ranges = parse_all(private_ranges);
  return std::ranges::any_of(ranges, [&](const Prefix& range) { return range.contains(prefix); });
}

}  // namespace oceanid::routing
