#pragma once
// Which connections of pods follow the active exit: a walk through our own rules as the kernel
// would walk for a packet of theirs, so that bypasses, selections and pins count as they do there.

#include "routing/core/conntrack.hpp"
#include "routing/core/model.hpp"

#include <vector>

namespace oceanid::routing {

class FlowScope {
 public:
  FlowScope() = default;  // none does
  FlowScope(const NetworkState& state, const RoutingSettings& settings);

  // `flow` carries our mark for carried connections and not the one for exempt ones.
  bool follows_active(const Flow& flow) const;
  bool operator==(const FlowScope&) const = default;

 private:
  struct Packet;
  bool matches(const Rule& rule, const Packet& packet) const;

  std::vector<Rule> rules_;  // those that a pod's packet can meet, in their order
  std::uint32_t table_ = 0;  // the egress table: its default is the active exit
  std::uint32_t carried_ = 0;
};

}  // namespace oceanid::routing
