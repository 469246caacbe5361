#include "proxy/core/embedded_v4.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace oceanid::proxy {
namespace {

using Bytes = std::span<const std::uint8_t>;

IpAddress at(Bytes b, std::size_t first) {
  return IpAddress::v4({b[first], b[first + 1], b[first + 2], b[first + 3]});
}

bool begins(Bytes b, std::initializer_list<std::uint8_t> prefix) {
  return std::ranges::equal(b.first(prefix.size()), prefix);
}

bool all_zero(Bytes b) {
  return std::ranges::all_of(b, [](std::uint8_t byte) { return byte == 0; });
}

// 64:ff9b:1::/48 may be used with prefixes of 48, 56, 64 or 96 bits (RFC 8215, layouts in RFC 6052
// section 2.2), and the bits do not say which. Every layout whose reserved bits are zero counts,
// except the one that yields 0.0.0.0, which no translator forwards.
void add_local_nat64(Bytes b, std::vector<EmbeddedV4>& out) {
  struct Layout {
    unsigned first_bit;
    std::array<std::size_t, 4> bytes;
    std::size_t suffix;  // first byte that must be zero behind the address
  };
  constexpr std::array<Layout, 4> layouts = {{{48, {6, 7, 9, 10}, 11},
                                              {56, {7, 9, 10, 11}, 12},
                                              {64, {9, 10, 11, 12}, 13},
                                              {96, {12, 13, 14, 15}, 16}}};
  for (const Layout& layout : layouts) {
    const IpAddress inner = IpAddress::v4(
        {b[layout.bytes[0]], b[layout.bytes[1]], b[layout.bytes[2]], b[layout.bytes[3]]});
    if (b[8] == 0 && all_zero(b.subspan(layout.suffix)) && !inner.is_unspecified())
      out.push_back({inner, layout.first_bit, "local-use NAT64"});
  }
}

}  // namespace

std::vector<EmbeddedV4> embedded_v4(const IpAddress& address) {
  std::vector<EmbeddedV4> out;
  if (address.is_v4()) return out;
  const Bytes b = address.bytes();
  if (all_zero(b.first(10)) && b[10] == 0xff && b[11] == 0xff) {
    out.push_back({at(b, 12), 96, "IPv4-mapped"});
  } else if (all_zero(b.first(12))) {
    out.push_back({at(b, 12), 96, "IPv4-compatible"});
  } else if (all_zero(b.first(8)) && b[8] == 0xff && b[9] == 0xff && b[10] == 0 && b[11] == 0) {
    out.push_back({at(b, 12), 96, "IPv4-translated"});
  } else if (begins(b, {0x00, 0x64, 0xff, 0x9b}) && all_zero(b.subspan(4, 8))) {
    out.push_back({at(b, 12), 96, "NAT64"});
  } else if (begins(b, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01})) {
    add_local_nat64(b, out);
  } else if (begins(b, {0x20, 0x02})) {
    out.push_back({at(b, 2), 16, "6to4"});
  } else if (begins(b, {0x20, 0x01, 0x00, 0x00})) {
    // RFC 4380 section 4: the server in clear, the client with every bit inverted.
    const auto inverted = [&](std::size_t i) { return static_cast<std::uint8_t>(~b[i]); };
    out.push_back({at(b, 4), 32, "Teredo server"});
    out.push_back({IpAddress::v4({inverted(12), inverted(13), inverted(14), inverted(15)}), 96,
                   "Teredo client"});
  }
  // RFC 5214 section 6.1: under any /64, interface identifier [02]00:5efe followed by the IPv4
  // address.
  if ((b[8] == 0x00 || b[8] == 0x02) && b[9] == 0x00 && b[10] == 0x5e && b[11] == 0xfe)
    out.push_back({at(b, 12), 96, "ISATAP"});
  return out;
}

}  // namespace oceanid::proxy
