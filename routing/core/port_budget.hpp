#pragma once
// How many of an exit address's ports are taken, destination by destination. A translation is
// unique by (exit address, port, destination, destination port, protocol), so that one address
// holds as many connections to one place at once as it may use ports, 64,512; the
// kernel looks for a free one by chance and with patience for a few hundred tries, and measured the
// first connections fail at 90 %. Before that the next address of serve_exit.snat takes over
// (spill_set), until the former has room again. Pure.

#include "gateway/base/net_types.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace oceanid::routing {

// What clients' ports become.
struct SnatPorts {
  std::uint16_t first = 1024;
  std::uint16_t last = 65535;
  std::uint32_t count() const { return std::uint32_t{last} - first + 1; }
  bool operator==(const SnatPorts&) const = default;
};

struct Destination {
  IpAddress address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  std::string to_string() const;  // "192.0.2.10:5432/tcp"
  auto operator<=>(const Destination&) const = default;
};

struct PortUse {
  IpAddress address;  // of the exit
  Destination to;
  auto operator<=>(const PortUse&) const = default;
};

struct PortUseHash {
  std::size_t operator()(const PortUse& use) const;
  std::size_t operator()(const Destination& to) const;
};

// From now on connections to `to` take the exit's address `number` of their family, counted from 0,
// and no longer `before`. Equal ones: it stays so, and the set is to be told again in time.
struct Spill {
  Destination to;
  std::size_t before = 0;
  std::size_t number = 0;
  bool operator==(const Spill&) const = default;
};

class PortBudget {
 public:
  using Seconds = std::chrono::seconds;
  struct Notice {
    bool warning = false;
    std::string text;
    bool operator==(const Notice&) const = default;
  };
  struct Advice {
    std::vector<Spill> spills;
    std::vector<Notice> notices;
  };
  struct Line {
    PortUse use;
    std::uint32_t used = 0;
    double ratio = 0;
  };

  // What the sets hold goes by itself when nobody renews it.
  static constexpr Seconds spill_lifetime{600};
  static constexpr Seconds renew_after{300};
  static constexpr std::size_t most_uses = 65'536;

  explicit PortBudget(const SnatPorts& ports = {}) { set_ports(ports); }
  void set_ports(const SnatPorts& ports);

  // False: not counted, for want of room; then it must not be told closed.
  bool opened(const PortUse& use);
  void closed(const PortUse& use);

  std::uint32_t used(const PortUse& use) const;
  std::uint32_t available() const { return available_; }
  // The fullest ones, from less than a hundredth on.
  std::vector<Line> fullest(std::size_t most) const;
  // An address came to have few ports left since the last tick: look now, not in a second.
  bool pressing() const { return pressing_; }
  // What to do now; `addresses` are those of serve_exit.snat in order, of both families.
  Advice tick(Seconds now, const std::vector<IpAddress>& addresses);
  // The sets were replaced: what they held has to be said again.
  void forget_spills() { placed_.clear(); }

 private:
  struct Placed {
    std::size_t number = 0;
    Seconds said{0};
  };
  using Addresses = std::vector<IpAddress>;
  std::size_t place(const Destination& to, std::size_t now, const Addresses& addresses) const;
  void spill(Seconds now, const Addresses& all, Advice& advice);
  void notify(const Addresses& all, Advice& advice);
  std::string warning(const PortUse& use, const IpAddress* next) const;

  std::uint32_t available_ = 0;
  std::uint32_t busy_from_ = 0;   // shown
  std::uint32_t spill_from_ = 0;  // and warned of
  std::uint32_t calm_below_ = 0;
  bool pressing_ = false;
  std::unordered_map<PortUse, std::uint32_t, PortUseHash> used_;
  std::unordered_set<PortUse, PortUseHash> busy_;
  std::unordered_set<PortUse, PortUseHash> told_;
  std::unordered_map<Destination, Placed, PortUseHash> placed_;
};

}  // namespace oceanid::routing
