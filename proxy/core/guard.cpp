#include "proxy/core/guard.hpp"

#include "proxy/core/client_acl.hpp"
#include "proxy/core/embedded_v4.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

std::string_view token_of(OwnKind kind) {
  switch (kind) {
    case OwnKind::listener:
      return "own-listener";
    case OwnKind::pods:
      return "own-pods";
    case OwnKind::services:
      return "own-services";
    case OwnKind::tunnel:
      return "own-tunnel";
    case OwnKind::node:
      return "own-node";
  }
  return "own-node";
}

// Whoever writes ::ffff:10.0.0.0/104 means 10.0.0.0/8, and an IPv4 address must meet that entry.
// The whole block (/96) stays what it says, the mapped form, lest a deny of it shut all of IPv4.
Prefix without_mapping(const Prefix& prefix) {
  const IpAddress address = unmapped(prefix.address());
  if (prefix.family() == Family::v4 || address.family() == Family::v6 || prefix.length() <= 96)
    return prefix;
  return Prefix::make(address, prefix.length() - 96).value_or(prefix);
}

}  // namespace

Guard::Guard(const GuardSettings& settings, const std::vector<NamedPrefix>& own) {
  for (const Prefix& p : settings.deny)
    add(p, Origin::deny, "guard-deny", "guard.deny");
  for (const Prefix& p : settings.allow)
    add(p, Origin::allow, "guard-allow", "guard.allow");
  for (const NamedPrefix& n : own)
    add(n.prefix, Origin::own, token_of(n.kind),
        fmt::format("{}, the gateway's own range", n.name));
  for (const SpecialRange& row : special_ranges())
    add(Prefix::parse(row.prefix).value(), Origin::table, row.token,
        fmt::format("{} ({})", row.name, row.reference), row.reachable);
  const auto longest_first = [](const Entry& a, const Entry& b) {
    return std::pair(b.prefix.length(), a.origin) < std::pair(a.prefix.length(), b.origin);
  };
  std::ranges::sort(v4_, longest_first);
  std::ranges::sort(v6_, longest_first);
}

void Guard::add(const Prefix& prefix, Origin origin, std::string_view token, std::string why,
                bool reachable) {
  // The table's own row for the mapped block stays IPv6: as an IPv4 row it would be 0.0.0.0/0.
  const Prefix plain = origin == Origin::table ? prefix : without_mapping(prefix);
  std::vector<Entry>& entries = plain.family() == Family::v4 ? v4_ : v6_;
  entries.push_back(
      {plain, origin, reachable, token, fmt::format("{}: {}", plain.to_string(), why)});
}

const Guard::Entry* Guard::match(const IpAddress& address) const {
  bool table_is_silent = false;
  for (const Entry& entry : address.is_v4() ? v4_ : v6_) {
    if (!entry.prefix.contains(address)) continue;
    if (entry.origin != Origin::table) return &entry;
    if (table_is_silent) continue;
    if (!entry.reachable) return &entry;
    table_is_silent = true;
  }
  return nullptr;
}

GuardVerdict Guard::judge(const IpAddress& address) const {
  const auto verdict = [](const Entry& e) {
    return GuardVerdict{e.origin == Origin::allow, e.token, e.why};
  };
  const Entry* outer = match(address);
  if (outer != nullptr && outer->origin != Origin::allow) return verdict(*outer);

  const Entry* allowed_by = outer;
  for (const EmbeddedV4& part : embedded_v4(address)) {
    const Entry* inner = match(part.inner);
    if (inner == nullptr) continue;
    if (inner->origin == Origin::allow) {
      if (allowed_by == nullptr) allowed_by = inner;
      continue;
    }
    // An allow for the carrier that reaches into the embedded bits competes as an IPv4 entry of
    // that length.
    if (outer != nullptr && outer->prefix.length() > part.first_bit) {
      const unsigned reach = std::min(outer->prefix.length() - part.first_bit, 32U);
      const unsigned length = inner->prefix.length();
      if (reach > length || (reach == length && inner->origin != Origin::deny)) continue;
    }
    GuardVerdict denied = verdict(*inner);
    denied.rule += fmt::format(", inside the {} address {}", part.form, address.to_string());
    return denied;
  }
  if (allowed_by != nullptr) return verdict(*allowed_by);
  return {true, "public", "no special range contains it"};
}

}  // namespace oceanid::proxy
