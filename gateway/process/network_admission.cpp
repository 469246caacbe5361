// What a configuration must not ask for on this host (routing/core/conflicts.cpp says what).

#include "gateway/process/network.hpp"
#include "gateway/process/routing_inputs.hpp"

#include <algorithm>

namespace oceanid::process {

routing::Inputs Network::inputs_of(const Config& config) const {
  const bool same = tunnels_ && config_.tunnel == config.tunnel && config_.exits == config.exits;
  auto endpoints = tunnels_ ? tunnels_->peer_endpoints() : std::vector<SocketAddress>();
  for (const SocketAddress& literal : literal_endpoints(config))
    if (std::ranges::find(endpoints, literal) == endpoints.end()) endpoints.push_back(literal);
  auto tunnels = tunnels_ ? tunnels_->status() : std::vector<tunnel::TunnelStatus>();
  if (!same)
    tunnels = planned_tunnels(config, tunnels.empty() ? std::string() : tunnels.front().backend);
  return routing_inputs(config, facts_, tunnels, endpoints, exits_);
}

std::vector<std::string> Network::contradictions(
    const Config& config, const std::optional<routing::ControlConnection>& operator_session) {
  if (kernel_)
    if (auto facts = kernel_->facts()) facts_ = std::move(*facts);
  return routing::conflicts(inputs_of(config), operator_session);
}

// What somebody else did to a host (an address inside `sources`) is no reason to refuse the next
// change of the policy.
Result<void> Network::admits(const Config& config,
                             const std::optional<routing::ControlConnection>& operator_session) {
  if (tunnels_ && config_.tunnel == config.tunnel)
    if (auto keys = tunnels_->other_keys_on_disk(); !keys)
      return std::unexpected(std::move(keys.error()));
  std::vector<std::string> known;
  if (reconciler_) known = contradictions(config_, operator_session);
  std::string text;
  for (const std::string& sentence : contradictions(config, operator_session))
    if (std::ranges::find(known, sentence) == known.end())
      text += (text.empty() ? "" : "\n") + sentence;
  if (text.empty()) return {};
  return fail(Errc::invalid_argument, text);
}

}  // namespace oceanid::process
