#pragma once
// Entries of the kernel's connection tracking as plain values.

#include "gateway/base/net_types.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace oceanid::routing {

inline constexpr std::uint8_t tcp_number = 6;
inline constexpr std::uint8_t udp_number = 17;

// What the packets of one direction carry. Both addresses are of one family; protocols without
// ports have zeros there.
struct FlowTuple {
  IpAddress source;
  IpAddress destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint8_t protocol = 0;
  Family family() const { return source.family(); }
  auto operator<=>(const FlowTuple&) const = default;
};

// Numbered as the kernel does (include/uapi/linux/netfilter/nf_conntrack_tcp.h).
enum class TcpState : std::uint8_t {
  none,
  syn_sent,
  syn_received,
  established,
  fin_wait,
  close_wait,
  last_ack,
  time_wait,
  close,
  syn_sent2,
};

// What one direction has carried; the kernel counts with net.netfilter.nf_conntrack_acct=1 only.
struct FlowCount {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  bool operator==(const FlowCount&) const = default;
};

// Bits of Flow::status (IPS_* in include/uapi/linux/netfilter/nf_conntrack_common.h).
inline constexpr std::uint32_t flow_seen_reply = 1U << 1;
inline constexpr std::uint32_t flow_assured = 1U << 2;
inline constexpr std::uint32_t flow_source_translated = 1U << 4;
inline constexpr std::uint32_t flow_destination_translated = 1U << 5;

struct Flow {
  FlowTuple original;  // as the one who began it sends
  FlowTuple reply;     // as the answers come in: differs from the mirror image by what NAT changed
  std::uint32_t mark = 0;
  std::uint32_t id = 0;  // another entry with the same tuples has another one; not unique alone
  std::uint32_t status = 0;
  std::optional<TcpState> tcp_state;
  std::optional<FlowCount> sent;      // by the one who began it
  std::optional<FlowCount> received;  // by the same
  bool operator==(const Flow&) const = default;
};

// For tables keyed by tuple.
struct FlowTupleHash {
  std::size_t operator()(const FlowTuple& tuple) const;
};

// Tells entries apart, also those with the same tuples one after another. The kernel's id is a hash
// of 32 bits (nf_ct_get_id): among 50,000 entries two have the same one in every fourth case.
std::uint64_t identity(const Flow& flow);

// Hears what happens to flows; called on the event loop, briefly. A flow may be told of more than
// once, and `flow_ended` may come for one that was never told of.
class FlowObserver {
 public:
  FlowObserver() = default;
  FlowObserver(const FlowObserver&) = delete;
  FlowObserver& operator=(const FlowObserver&) = delete;

  virtual void flow_begun(const Flow& flow) = 0;  // new, or found by a dump
  virtual void flow_updated(const Flow& flow) = 0;
  virtual void flow_ended(const Flow& flow) = 0;  // with its last counts
  // Everything is told again: at the start, and after notices were lost. What was not told of
  // between the two calls is gone.
  virtual void dump_begins() {}
  virtual void dump_ended() {}

 protected:
  ~FlowObserver() = default;
};

}  // namespace oceanid::routing
