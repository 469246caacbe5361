#include "proxy/edge/runtime_check.hpp"

#include "proxy/edge/tls_context.hpp"

namespace oceanid::proxy {
namespace {

Result<void> check_present(const Runtime& runtime, const std::optional<std::string>& path) {
  if (!path || (runtime.secrets && runtime.secrets->contains(*path))) return {};
  return fail(Errc::not_found, *path + ": its contents were not handed over");
}

}  // namespace

Result<void> check_runtime(const Runtime& runtime) {
  for (const ListenerSettings& listener : runtime.proxy->listeners) {
    if (!listener.tls) continue;
    auto made = make_tls_context(listener, runtime.secrets ? *runtime.secrets : Secrets{});
    if (!made) return std::unexpected(std::move(made.error()));
  }
  return check_present(runtime, runtime.proxy->users_file);
}

}  // namespace oceanid::proxy
