#pragma once
// WireGuard in the kernel, driven by wireguard-embeddable over generic netlink. The calls are
// synchronous and short (a few netlink messages, no network), so they run on the event loop's
// thread.

#include "tunnel/core/diff.hpp"
#include "tunnel/edge/backend.hpp"

#include <chrono>
#include <map>
#include <utility>

namespace oceanid::tunnel {

class KernelBackend final : public Backend {
 public:
  // Makes and deletes a link: unsupported without the module, permission without CAP_NET_ADMIN.
  static Result<void> probe();

  std::string_view kind() const override { return "kernel"; }
  std::string version(const IfName&) const override { return {}; }
  awaitable<Result<void>> ensure(DesiredDevice device, PrivateKey key) override;
  awaitable<Result<DeviceSnapshot>> snapshot(IfName device) override;
  awaitable<Result<void>> remove(IfName device) override;
  awaitable<std::vector<IfName>> existing() override;
  awaitable<Result<void>> force_handshake(IfName device, PublicKey peer) override;
  awaitable<void> stop() override;

 private:
  Result<void> apply_difference(const DesiredDevice& device, const PrivateKey& key);

  std::map<IfName, DesiredDevice> desired_;
  std::map<IfName, EndpointIntent> intents_;
  std::map<std::pair<IfName, PublicKey>, std::chrono::steady_clock::time_point> forced_;
};

// Deletes a link of any kind by its name; ok when there is none.
Result<void> delete_link(const IfName& name);

}  // namespace oceanid::tunnel
