// This node's WireGuard key while no gateway runs.

#include "gateway/process/offline.hpp"
#include "gateway/process/state_files.hpp"
#include "tunnel/edge/key_store.hpp"

#include <fmt/format.h>

namespace oceanid::process {
namespace {

std::string key_path(const Config& config) {
  return config.tunnel && config.tunnel->private_key_file ? *config.tunnel->private_key_file
                                                          : config.state_dir + "/private.key";
}

// The public half of the key in `path`; the private one is created when there is none.
Result<std::string> public_half(const Config& config, const std::string& path) {
  if (auto made = ensure_folder(config.state_dir, 0700); !made)
    return std::unexpected(std::move(made.error()));
  auto key = tunnel::load_or_create_private_key(path);
  if (!key) return std::unexpected(std::move(key.error()));
  auto shown = tunnel::public_key_of(*key);
  if (!shown) return std::unexpected(std::move(shown.error()));
  return shown->to_base64();
}

}  // namespace

Result<std::string> own_public_key(const Config& config) {
  return public_half(config, key_path(config));
}

Result<std::string> rotate_offline(const Config& config, bool abandon, bool force) {
  const std::string path = key_path(config);
  const std::string next = tunnel::next_key_path(path);
  if (abandon) {
    if (auto prepared = tunnel::load_private_key(next); !prepared)
      return std::unexpected(std::move(prepared.error()));
    if (auto removed = tunnel::remove_key(next); !removed)
      return std::unexpected(std::move(removed.error()));
    return std::string("the next key is removed; nothing has changed");
  }
  // Of a node without a key yet the next one would never be the next of anything.
  if (auto present = public_half(config, path); !present) return present;
  auto shown = public_half(config, next);
  if (!shown) return shown;
  if (force) {
    if (auto done = tunnel::promote_next_key(path); !done)
      return std::unexpected(std::move(done.error()));
    return fmt::format("the next start uses {}; name it as public_key of this node at its peers",
                       *shown);
  }
  return fmt::format(
      "next public key: {}\nput it as next_public_key of this node at each of its peers; no "
      "gateway runs here now: once one does, it turns to the key as soon as all of them know it",
      *shown);
}

}  // namespace oceanid::process
