#pragma once
// What each client of an exit has used: flows, packets and bytes, and where to. Bytes and packets
// are counted when a flow ends, from what the kernel then says of it; what is under way shows as
// open flows. Bounded: clients that have been silent longest make room. Pure.

#include "gateway/base/net_types.hpp"
#include "routing/core/port_budget.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

namespace oceanid::routing {

struct Usage {
  std::uint64_t bytes_up = 0;  // from the client
  std::uint64_t bytes_down = 0;
  std::uint64_t packets_up = 0;
  std::uint64_t packets_down = 0;
  Usage& operator+=(const Usage& more);
  std::uint64_t bytes() const { return bytes_up + bytes_down; }
  bool operator==(const Usage&) const = default;
};

class ClientLedger {
 public:
  static constexpr std::size_t most_clients = 4096;
  static constexpr std::size_t most_destinations = 16;  // of a client
  static constexpr std::size_t most_networks = 64;

  struct DestinationLine {
    Destination to;
    // When more than sixteen were used, an upper bound: the one that gives way hands its bytes on
    // (Metwally et al., Efficient Computation of Frequent and Top-k Elements, 2005).
    std::uint64_t bytes = 0;
    std::uint64_t flows = 0;
  };
  struct Client {
    IpAddress address;
    Usage usage;
    std::uint64_t flows = 0;  // ended ones
    std::uint64_t open = 0;
    std::vector<DestinationLine> destinations;
    std::uint64_t last = 0;  // counts uses
  };
  struct Network {  // for metrics, whose names must not come and go
    Usage usage;
    std::uint64_t flows = 0;
  };

  // False: there is no room for this client; then it must not be told closed.
  bool opened(const IpAddress& client);
  void closed(const IpAddress& client);  // without being counted
  void ended(const IpAddress& client, const Destination& to, const Usage& usage);

  // By bytes, the largest first.
  std::vector<const Client*> largest(std::size_t most) const;
  // With the most connections open; null when nobody has any.
  const Client* busiest() const;
  std::size_t size() const { return clients_.size(); }
  // By /24 and /64; those that found no room any more are 0.0.0.0/0.
  const std::map<Prefix, Network>& networks() const { return networks_; }

 private:
  struct Hash {
    std::size_t operator()(const IpAddress& address) const;
  };
  Client* client_of(const IpAddress& address);
  void make_room();
  Network& network_of(const IpAddress& address);

  std::unordered_map<IpAddress, Client, Hash> clients_;
  std::map<Prefix, Network> networks_;
  std::uint64_t uses_ = 0;
  std::uint64_t crowded_until_ = 0;  // of uses_: nobody was silent when we last looked
};

}  // namespace oceanid::routing
