#include "routing/core/flow_scope.hpp"

#include "routing/core/marks.hpp"

#include <variant>

namespace oceanid::routing {

struct FlowScope::Packet {
  const IpAddress& source;
  const IpAddress& destination;
  std::uint16_t port;
  std::uint8_t protocol;
};

FlowScope::FlowScope(const NetworkState& state, const RoutingSettings& settings)
    : table_(settings.table), carried_(mark_bits(settings.mark).carried.value) {
  if (settings.interfaces.empty()) return;
  // All of routing.interfaces have the same rules; of one family they stand in their order.
  const IfName& pods = settings.interfaces.front();
  for (const Rule& rule : state.rules)
    if (!rule.oif && (!rule.iif || *rule.iif == pods)) rules_.push_back(rule);
}

bool FlowScope::matches(const Rule& rule, const Packet& packet) const {
  return rule.family == packet.source.family() &&
         (!rule.from || rule.from->contains(packet.source)) &&
         (!rule.to || rule.to->contains(packet.destination)) &&
         (!rule.mark || (carried_ & rule.mark->mask) == rule.mark->value) &&
         (!rule.ip_protocol || *rule.ip_protocol == packet.protocol) &&
         (!rule.destination_port || *rule.destination_port == packet.port);
}

// Routing comes after the destination was translated: what counts is who answers.
bool FlowScope::follows_active(const Flow& flow) const {
  const Packet packet{flow.original.source, flow.reply.source, flow.reply.source_port,
                      flow.original.protocol};
  std::uint32_t from = 0;
  for (const Rule& rule : rules_) {
    if (rule.priority < from || !matches(rule, packet)) continue;
    if (const auto* jump = std::get_if<Goto>(&rule.action))
      from = jump->priority;
    else if (const auto* lookup = std::get_if<Lookup>(&rule.action))
      return lookup->table == table_;
    else if (!std::holds_alternative<Nop>(rule.action))
      return false;
  }
  return false;
}

}  // namespace oceanid::routing
