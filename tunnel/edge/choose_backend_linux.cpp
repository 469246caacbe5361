#include "gateway/base/runtime/log.hpp"
#include "tunnel/edge/kernel_backend.hpp"
#include "tunnel/edge/userspace_backend.hpp"

namespace oceanid::tunnel {

Result<std::unique_ptr<Backend>> choose_backend(BackendChoice choice,
                                                const asio::any_io_executor& executor,
                                                const BackendOptions& options,
                                                Backend::LostHandler on_lost) {
  const auto userspace = [&]() -> std::unique_ptr<Backend> {
    return std::make_unique<UserspaceBackend>(executor, options, std::move(on_lost));
  };
  if (choice == BackendChoice::userspace) return userspace();
  auto probed = KernelBackend::probe();
  if (probed) return std::make_unique<KernelBackend>();
  if (choice == BackendChoice::kernel) return std::unexpected(std::move(probed.error()));
  if (probed.error().code != Errc::unsupported) return std::unexpected(std::move(probed.error()));
  log::info("tunnel", "this kernel has no WireGuard, using wireguard-go",
            {{"program", options.wireguard_go}});
  return userspace();
}

awaitable<Result<void>> remove_all_devices(asio::any_io_executor executor, BackendOptions options) {
  Result<void> outcome;
  UserspaceBackend userspace(executor, std::move(options), {});
  for (const IfName& device : co_await userspace.existing()) {
    auto removed = co_await userspace.remove(device);
    if (!removed) outcome = std::move(removed);
  }
  co_await userspace.stop();
  KernelBackend kernel;
  for (const IfName& device : co_await kernel.existing()) {
    auto removed = co_await kernel.remove(device);
    if (!removed) outcome = std::move(removed);
  }
  co_return outcome;
}

}  // namespace oceanid::tunnel
