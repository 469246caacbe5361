#pragma once
// What roles in report mode have reached: the material for an allow list. Pure; bounded however
// many destinations a client invents: the least used ones are folded into one number.

#include "gateway/base/net_types.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

struct ReachedDestination {
  std::string host;
  std::uint16_t port = 0;
  std::uint64_t count = 0;
  std::string rule;  // the allow entry that covers it; empty: enforce would refuse it
};

struct RoleInventory {
  std::string role;
  std::uint64_t other = 0;  // requests for destinations that are not listed
  std::vector<ReachedDestination> destinations;
};

class Inventory {
 public:
  static constexpr std::size_t max_roles = 64;
  static constexpr std::size_t max_destinations = 1000;  // of a role, after folding

  void reached(const std::string& role, const HostPort& destination, std::string_view rule);
  void add(const RoleInventory& other);
  // The most used first.
  RoleInventory of(const std::string& role) const;

 private:
  struct Use {
    std::uint64_t count = 0;
    std::string rule;
  };
  struct Role {
    std::uint64_t other = 0;
    std::map<HostPort, Use> destinations;
  };
  static void fold(Role& role);
  void note(const std::string& role, const HostPort& destination, std::string_view rule,
            std::uint64_t count);

  std::map<std::string, Role, std::less<>> roles_;
};

// The fewest entries of an allow list that cover what was reached and nothing more: entries there
// are that were used, and a HOST:PORTS for each host that none covers.
std::vector<std::string> suggest_allow(const RoleInventory& inventory);

// "proxy.policy.roles.NAME.allow: TEXT" -> TEXT; empty for any other text.
std::string_view allow_entry_of(std::string_view rule);

}  // namespace oceanid::proxy
