#pragma once
// The address guard: may the gateway connect to this very address on a stranger's behalf? It judges
// after resolution, on the address that is dialled, so that no name can be rebound past it.
// Forwards do not pass here.
//
// All entries compete by length, the longest prefix wins: the IANA special-purpose registries,
// multicast and what is not global unicast (guard_table.cpp); the gateway's own ranges; the
// operator's `guard.allow` and `guard.deny`. At equal length the operator beats the rest and deny
// beats allow. What nothing matches is public.
//
// An IPv6 address that carries an IPv4 address is judged twice, as itself and as what it carries,
// and both must pass. An `allow` for the carrier excuses the inner address only when its prefix
// reaches into the embedded bits: `64:ff9b::/96` opens NAT64, `64:ff9b::a00:1/128` opens that one
// host behind it.
//
// Immutable after construction: share it between threads by pointer to const.

#include "gateway/base/net_types.hpp"
#include "proxy/core/settings.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

enum class OwnKind : std::uint8_t { listener, pods, services, tunnel, node };

// A range of the gateway's own, always denied unless the operator allows it.
struct NamedPrefix {
  Prefix prefix;
  OwnKind kind = OwnKind::node;
  std::string name;  // for humans: "pods of this node"
};

struct GuardVerdict {
  bool allowed = false;
  std::string_view range;  // metric token, a constant: "public", "private-10", "loopback",
                           // "own-pods", "guard-deny" ...
  std::string rule;        // for humans: the prefix that decided and why
};

// One row of the built-in table.
struct SpecialRange {
  std::string_view prefix;
  std::string_view token;
  std::string_view name;
  std::string_view reference;  // the document that reserves it
  bool reachable = false;      // an exception inside a wider row: plain public
};
std::span<const SpecialRange> special_ranges();

class Guard {
 public:
  Guard(const GuardSettings& settings, const std::vector<NamedPrefix>& own);

  GuardVerdict judge(const IpAddress& address) const;

 private:
  enum class Origin : std::uint8_t { deny, allow, own, table };  // in order of rank at equal length
  struct Entry {
    Prefix prefix;
    Origin origin;
    bool reachable;
    std::string_view token;
    std::string why;
  };

  void add(const Prefix& prefix, Origin origin, std::string_view token, std::string why,
           bool reachable = false);
  const Entry* match(const IpAddress& address) const;  // none: public

  std::vector<Entry> v4_;  // longest first
  std::vector<Entry> v6_;
};

}  // namespace oceanid::proxy
