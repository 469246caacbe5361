#include "gateway/process/state_files.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>

#include <fmt/format.h>

#include <sys/random.h>
#include <sys/stat.h>

namespace oceanid::process {
namespace {

// RFC 9562 version 4.
std::string random_uuid() {
  std::array<std::uint8_t, 16> b{};
  if (::getrandom(b.data(), b.size(), 0) != static_cast<ssize_t>(b.size())) return {};
  b[6] = static_cast<std::uint8_t>((b[6] & 0x0fU) | 0x40U);
  b[8] = static_cast<std::uint8_t>((b[8] & 0x3fU) | 0x80U);
  std::string out;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", b[i]);
  }
  return out;
}

bool is_uuid(const std::string& text) {
  return text.size() == 36 && text.find_first_not_of("0123456789abcdef-") == std::string::npos;
}

}  // namespace

Result<void> ensure_folder(const std::string& path, mode_t mode) {
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec)) return {};
  const auto parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, ec);
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return fail_errno("create the folder " + path);
  return {};
}

std::string load_or_create_connector_id(const std::string& state_dir) {
  const std::string path = state_dir + "/connector-id";
  if (auto text = read_small_file(path, 64)) {
    std::string id = text->substr(0, text->find('\n'));
    if (is_uuid(id)) return id;
  }
  const std::string fresh = random_uuid();
  auto written = ensure_folder(state_dir, 0700);
  if (written) written = write_file_atomically(path, fresh + "\n", 0644);
  if (!written)
    log::warn("gateway", "the connector id will change with the next start",
              {{"error", written.error().what}});
  return fresh;
}

bool intercepts(const Config& config) {
  return std::ranges::any_of(config.proxy.listeners, [](const proxy::ListenerSettings& listener) {
    return listener.intercept.has_value();
  });
}

bool needs_privileges(const Config& config) {
  return config.tunnel.has_value() || config.routing.has_value() || config.serve_exit.has_value() ||
         intercepts(config);
}

Result<void> check_reloadable(const Config& now, const Config& next, bool privileged) {
  const auto needs_restart = [](std::string_view key) {
    return fail(Errc::invalid_argument,
                fmt::format("{}: a change of this key needs a restart of the gateway", key));
  };
  if (now.state_dir != next.state_dir) return needs_restart("state_dir");
  if (now.run_dir != next.run_dir) return needs_restart("run_dir");
  if (now.proxy.workers != next.proxy.workers) return needs_restart("proxy.workers");
  if (now.proxy.user != next.proxy.user) return needs_restart("proxy.user");
  if (needs_privileges(next) && !privileged)
    return fail(
        Errc::permission,
        "tunnel, routing, serve_exit and intercept need NET_ADMIN, which this gateway gave up (or "
        "never had) because it started without them; restart it");
  if (now.tunnel && next.tunnel && now.tunnel->backend != next.tunnel->backend)
    return needs_restart("tunnel.backend");
  return {};
}

}  // namespace oceanid::process
