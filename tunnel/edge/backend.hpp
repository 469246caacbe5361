#pragma once
// Who carries WireGuard's packets on this machine: the kernel, or one wireguard-go process per
// device. Both behave the same towards the manager. A device lives on when this process dies and is
// taken over (adopted) by the next one after comparing keys. The routing side sets MTU and
// addresses and brings the link up. All methods belong to the io_context's one thread; none blocks
// it; calls for one device must not overlap (the manager's lock sees to that).

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "tunnel/core/plan.hpp"
#include "tunnel/core/settings.hpp"
#include "tunnel/core/snapshot.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::tunnel {

class Backend {
 public:
  // A device of ours is gone without remove(): its process died, its link was deleted.
  using LostHandler = std::function<void(const IfName& device)>;

  Backend() = default;
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual std::string_view kind() const = 0;  // "kernel" | "userspace"
  // Of what carries this device; empty: not known (yet), or the kernel's own.
  virtual std::string version(const IfName& device) const = 0;
  // Creates what is missing, adopts what is there with the same key, applies the difference.
  virtual awaitable<Result<void>> ensure(DesiredDevice device, PrivateKey key) = 0;
  virtual awaitable<Result<DeviceSnapshot>> snapshot(
      IfName device) = 0;                                     // not_found: no such device
  virtual awaitable<Result<void>> remove(IfName device) = 0;  // ok when there was none
  virtual awaitable<std::vector<IfName>>
  existing() = 0;  // all oc-* of this kind, also foreign leftovers
  // Forgets the session with the peer and starts a new one; Errc::limit within
  // forced_handshake_pause of the last time.
  virtual awaitable<Result<void>> force_handshake(IfName device, PublicKey peer) = 0;
  // Stops watching; devices stay as they are.
  virtual awaitable<void> stop() = 0;
};

struct BackendOptions {
  std::string wireguard_go = "wireguard-go";      // program, found on PATH
  std::string run_dir = "/run/oceanid";           // wireguard-go-NAME.pid
  std::string socket_dir = "/var/run/wireguard";  // compiled into wireguard-go
};

// `automatic` tries a throw-away kernel link first. Errors: permission, unsupported (kernel
// demanded).
Result<std::unique_ptr<Backend>> choose_backend(BackendChoice choice,
                                                const asio::any_io_executor& executor,
                                                const BackendOptions& options,
                                                Backend::LostHandler on_lost);

// Ends every oc-* device on this machine, whichever backend made it (`oceanid down`).
awaitable<Result<void>> remove_all_devices(asio::any_io_executor executor, BackendOptions options);

// The rule of force_handshake, shared by the backends.
inline constexpr std::chrono::milliseconds forced_handshake_pause{480};

}  // namespace oceanid::tunnel
