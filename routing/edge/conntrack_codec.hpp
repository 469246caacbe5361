#pragma once
// ctnetlink (linux/netfilter/nfnetlink_conntrack.h) to values and back. No I/O.

#include "routing/core/conntrack.hpp"
#include "routing/edge/netlink_message.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <linux/filter.h>

namespace oceanid::routing {

enum class FlowEventKind : std::uint8_t { begun, updated, ended };

struct FlowEvent {
  FlowEventKind kind = FlowEventKind::begun;
  Flow flow;
  bool operator==(const FlowEvent&) const = default;
};

// A notice, or one entry of a dump (which looks like a new one). None: not an entry of a
// connection, or one that cannot be understood.
std::optional<FlowEvent> decode_flow(const nlmsghdr& message);

// Asks for all entries of both families whose mark has `mark`'s value under its mask; the kernel
// compares.
Message encode_flow_dump(const Mark& mark);
// Removes this very entry: one that has taken its tuples meanwhile stays (ENOENT).
Message encode_flow_delete(const Flow& flow);
// Writes mark's value under its mask into the entry (CTA_MARK_MASK).
Message encode_flow_mark(const Flow& flow, const Mark& mark);

// A socket filter for notices: only flows whose mark has `mark`'s value under its mask, and of
// TCP's updates only those into established, time-wait and closed. Notices carry their mark
// whenever it is not zero (ctnetlink_dump_mark).
std::vector<sock_filter> flow_filter(const Mark& mark);

}  // namespace oceanid::routing
