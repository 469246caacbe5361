#include "gateway/process/secret_files.hpp"

#include "gateway/base/runtime/state_file.hpp"
#include "gateway/ipc/channel.hpp"

#include <algorithm>
#include <optional>

namespace oceanid::process {
namespace {

constexpr std::size_t max_secret_bytes = 1U << 20U;

void add(std::vector<std::string>& out, const std::optional<std::string>& path) {
  if (path && std::ranges::find(out, *path) == out.end()) out.push_back(*path);
}

}  // namespace

std::vector<std::string> secret_files(const Config& config) {
  std::vector<std::string> out;
  for (const auto& listener : config.proxy.listeners) {
    if (!listener.tls) continue;
    add(out, listener.tls->certificate);
    add(out, listener.tls->key);
    add(out, listener.tls->client_ca);
    add(out, listener.tls->crl);
  }
  add(out, config.proxy.users_file);
  return out;
}

std::vector<std::string> all_secret_files(const Config& config) {
  std::vector<std::string> out = secret_files(config);
  if (!config.tunnel) return out;
  if (const auto& tls = config.tunnel->tls)
    for (const auto& path : {tls->certificate, tls->key, tls->client_ca})
      add(out, path);
  for (const auto& peer : config.tunnel->peers)
    if (const auto& tls = peer.tls)
      for (const auto& path : {tls->certificate, tls->key, tls->ca})
        add(out, path);
  return out;
}

Result<UniqueFd> open_secret_file(const std::string& path) {
  auto text = read_small_file(path, max_secret_bytes);
  if (!text) return std::unexpected(std::move(text.error()));
  return ipc::make_memfd("oceanid-file", *text);
}

}  // namespace oceanid::process
