#include "gateway/process/secret_files.hpp"

#include "gateway/base/runtime/state_file.hpp"
#include "gateway/ipc/channel.hpp"

#include <algorithm>

namespace oceanid::process {
namespace {

constexpr std::size_t max_secret_bytes = 1U << 20U;

}  // namespace

std::vector<std::string> secret_files(const Config& config) {
  std::vector<std::string> out;
  const auto add = [&](const std::optional<std::string>& path) {
    if (path && std::ranges::find(out, *path) == out.end()) out.push_back(*path);
  };
  for (const auto& listener : config.proxy.listeners) {
    if (!listener.tls) continue;
    add(listener.tls->certificate);
    add(listener.tls->key);
    add(listener.tls->client_ca);
    add(listener.tls->crl);
  }
  add(config.proxy.users_file);
  return out;
}

Result<UniqueFd> open_secret_file(const std::string& path) {
  auto text = read_small_file(path, max_secret_bytes);
  if (!text) return std::unexpected(std::move(text.error()));
  return ipc::make_memfd("oceanid-file", *text);
}

}  // namespace oceanid::process
