#pragma once
// One entry of a role's `allow` or `deny`, and many of them looked up quickly. Pure; immutable once
// built.
//
//   api.example.com        that name and nothing below it
//   *.example.com          every name below example.com, not example.com itself
//   *                      everything
//   192.0.2.7, 10.0.0.0/8, 2001:db8::/32        addresses, as asked for or as resolved
//   each with :PORTS       443, 443,8443 or 8000-8099; IPv6 stands in brackets then

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  bool operator==(const PortRange&) const = default;
};

struct Rule {
  enum class Kind : std::uint8_t { any, exact, suffix, address };
  Kind kind = Kind::any;
  std::string host;              // exact: the name; suffix: without "*."; canonical
  Prefix prefix;                 // address
  std::vector<PortRange> ports;  // empty: all
  std::string text;              // as the operator wrote it

  bool takes_port(std::uint16_t port) const;
  bool names_port() const { return !ports.empty(); }
};

// Errors: Errc::invalid_argument with what is wrong.
Result<Rule> parse_rule(std::string_view text);

// The most specific rule that fits decides: an exact name before a longer suffix before a shorter
// one before `*`, a longer prefix before a shorter one. Where two are equally specific, deny wins;
// among allows one that names the port does.
class RuleSet {
 public:
  struct Match {
    const Rule* rule = nullptr;
    bool deny = false;
  };

  void add(Rule rule, bool deny);
  // Call once after the last add().
  void finish();

  std::optional<Match> match_name(std::string_view name, std::uint16_t port) const;
  // `asked`: the client named the address itself, so `*` counts too. An address that carries an
  // IPv4 address (NAT64, 6to4, ...) meets the deny rules for that one as well.
  std::optional<Match> match_address(const IpAddress& address, std::uint16_t port,
                                     bool asked) const;
  // Whether an address could be allowed by a rule of its own.
  bool allows_addresses(std::uint16_t port) const;

 private:
  struct Entry {
    Rule rule;
    bool deny = false;
  };
  using ByName = std::map<std::string, std::vector<Entry>, std::less<>>;
  static std::optional<Match> first_of(const std::vector<Entry>& entries, std::uint16_t port);
  static std::optional<Match> find(const ByName& names, std::string_view name, std::uint16_t port);
  std::optional<Match> longest(const IpAddress& address, std::uint16_t port) const;

  ByName exact_;
  ByName suffix_;
  std::vector<Entry> any_;
  std::vector<Entry> addresses_;  // the longest first
};

}  // namespace oceanid::proxy
