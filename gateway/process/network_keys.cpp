// This node's WireGuard key, as operators ask for it and see it.

#include "gateway/process/network.hpp"

#include <chrono>

namespace oceanid::process {

awaitable<Result<std::string>> Network::rotate_key(tunnel::TunnelManager::RotateRequest request) {
  if (!tunnels_) co_return fail(Errc::not_found, "the configuration in force has no tunnels");
  co_return co_await tunnels_->rotate(request);
}

void Network::describe_key(ipc::GatewaySnapshot& out) const {
  const auto status = tunnels_ ? tunnels_->key_status() : std::nullopt;
  if (!status) return;
  ipc::KeyView view;
  view.public_key = status->public_key.to_base64();
  if (status->age) view.age_seconds = std::chrono::duration<double>(*status->age).count();
  view.lifetime_seconds = std::chrono::duration<double>(status->lifetime).count();
  view.too_old = status->too_old;
  view.rotation = tunnel::to_string(status->phase);
  if (status->phase == tunnel::Rotation::Phase::waiting && status->next)
    view.next_public_key = status->next->to_base64();
  view.held = status->held;
  view.messages_refused = status->refused;
  for (const auto& peer : status->peers)
    view.peers.push_back({peer.name, tunnel::to_string(peer.state)});
  out.key = std::move(view);
}

}  // namespace oceanid::process
