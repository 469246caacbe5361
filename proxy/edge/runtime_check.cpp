#include "proxy/edge/runtime_check.hpp"

#include "proxy/core/htpasswd.hpp"
#include "proxy/edge/tls_context.hpp"

namespace oceanid::proxy {
namespace {

Result<void> check_present(const Runtime& runtime, const std::optional<std::string>& path) {
  if (!path || (runtime.secrets && runtime.secrets->contains(*path))) return {};
  return fail(Errc::not_found, *path + ": its contents were not handed over");
}

// One bad line costs one user and is a warning; a file that lets nobody in is a mistake.
Result<void> check_users(const Runtime& runtime) {
  const auto& path = runtime.proxy->users_file;
  if (auto present = check_present(runtime, path); !present || !path) return present;
  const UsersFile file = parse_users(runtime.secrets->at(*path));
  if (!file.users.empty()) return {};
  return fail(Errc::invalid_argument,
              *path + ": " + (file.problems.empty() ? "it names no user" : file.problems.front()));
}

}  // namespace

Result<void> check_runtime(const Runtime& runtime) {
  for (const ListenerSettings& listener : runtime.proxy->listeners) {
    if (!listener.tls) continue;
    auto made = make_tls_context(listener, runtime.secrets ? *runtime.secrets : Secrets{});
    if (!made) return std::unexpected(std::move(made.error()));
  }
  return check_users(runtime);
}

}  // namespace oceanid::proxy
