// The guard against a slow second opinion: every entry that contains the address competes, judged
// without sorting or early exit, over arbitrary operator entries, own ranges and addresses.
//
// Input: 17 bytes for each operator or own entry (byte 0: kind and family, and length), the last
// 16: the address.
#include "proxy/core/client_acl.hpp"
#include "proxy/core/guard.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

namespace {

using namespace oceanid;
using namespace oceanid::proxy;

void require(bool condition) {
  if (!condition) std::abort();
}

bool bit(const IpAddress& a, unsigned i) {
  return ((a.bytes()[i / 8] >> (7 - i % 8)) & 1) != 0;
}

bool inside(const Prefix& p, const IpAddress& a) {
  if (p.family() != a.family()) return false;
  for (unsigned i = 0; i < p.length(); ++i)
    if (bit(p.address(), i) != bit(a, i)) return false;
  return true;
}

IpAddress address_at(const std::uint8_t* data, bool v4) {
  if (v4) return IpAddress::v4({data[0], data[1], data[2], data[3]});
  std::array<std::uint8_t, 16> bytes{};
  std::copy_n(data, 16, bytes.begin());
  return IpAddress::v6(bytes);
}

Prefix prefix_at(const std::uint8_t* data, bool v4, unsigned length) {
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned i = 0; i < length; ++i)
    bytes[i / 8] = static_cast<std::uint8_t>(bytes[i / 8] | (data[i / 8] & (0x80U >> (i % 8))));
  return Prefix::make(address_at(bytes.data(), v4), length).value();
}

// The verdict on an IPv4 address: rank 3 deny, 2 allow, 1 own, 0 table, compared after the length.
bool expected_v4(const IpAddress& a, const GuardSettings& settings,
                 const std::vector<NamedPrefix>& own) {
  int best = -1;  // length * 4 + rank
  bool allowed = true;
  const auto offer = [&](const Prefix& p, int rank, bool verdict) {
    const int weight = static_cast<int>(p.length()) * 4 + rank;
    if (!inside(p, a) || weight < best) return;
    best = weight;
    allowed = verdict;
  };
  for (const Prefix& p : settings.deny)
    offer(p, 3, false);
  for (const Prefix& p : settings.allow)
    offer(p, 2, true);
  for (const NamedPrefix& n : own)
    offer(n.prefix, 1, false);
  std::optional<SpecialRange> row;
  unsigned row_length = 0;
  for (const SpecialRange& r : special_ranges()) {
    const Prefix p = Prefix::parse(r.prefix).value();
    if (!inside(p, a) || (row && p.length() < row_length)) continue;
    row = r;
    row_length = p.length();
  }
  if (row && !row->reachable) offer(Prefix::parse(row->prefix).value(), 0, false);
  return allowed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t entry = 17;
  if (size < 16 || size > 16 + 12 * entry) return 0;
  GuardSettings settings;
  std::vector<NamedPrefix> own;
  std::size_t at = 0;
  for (; at + entry + 16 <= size; at += entry) {
    const bool v4 = (data[at] & 0x80U) != 0;
    const unsigned length = data[at] % (v4 ? 33U : 129U);
    const Prefix p = prefix_at(data + at + 1, v4, length);
    // An IPv6 entry of the mapped block is one for IPv4; the second opinion does not translate.
    if (!v4 && unmapped(p.address()).is_v4()) continue;
    switch (data[at + 16] % 3) {
      case 0:
        settings.deny.push_back(p);
        break;
      case 1:
        settings.allow.push_back(p);
        break;
      default:
        own.push_back({p, OwnKind::pods, "pods"});
    }
  }
  const Guard guard(settings, own);
  const IpAddress v4 = address_at(data + at, true);
  const GuardVerdict verdict = guard.judge(v4);
  require(verdict.allowed == expected_v4(v4, settings, own));
  require(!verdict.range.empty() && !verdict.rule.empty());

  // What is refused plainly is refused inside the transparent carriers too, unless an IPv6 entry
  // speaks up.
  const bool v6_allows =
      std::ranges::any_of(settings.allow, [](const Prefix& p) { return p.family() == Family::v6; });
  std::array<std::uint8_t, 16> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  std::array<std::uint8_t, 16> nat64{0, 0x64, 0xff, 0x9b};
  for (auto* carrier : {&mapped, &nat64}) {
    std::copy_n(data + at, 4, carrier->begin() + 12);
    if (!verdict.allowed && !v6_allows) require(!guard.judge(IpAddress::v6(*carrier)).allowed);
  }
  require(!guard.judge(address_at(data + at, false)).rule.empty());
  return 0;
}
