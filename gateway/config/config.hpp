#pragma once
// The whole configuration as one value, made by parse.hpp from a YAML text.
// Owned by nobody in particular: copied, compared, published as shared_ptr<const Config>.

#include "gateway/base/exit.hpp"
#include "gateway/base/net_types.hpp"
#include "proxy/core/settings.hpp"
#include "routing/core/settings.hpp"
#include "tunnel/core/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid {

enum class LogLevel : std::uint8_t { debug, info, warn, error };
enum class LogFormat : std::uint8_t { json, text };

struct LogSettings {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::json;
  bool access = true;
  bool operator==(const LogSettings&) const = default;
};

struct Config {
  std::string node;                    // host name when not given
  std::string state_dir;               // resolved default when not given
  std::optional<std::string> run_dir;  // none: no control socket
  LogSettings log;
  SocketAddress admin_bind;
  proxy::ProxySettings proxy;
  std::vector<proxy::ForwardSettings> forwards;
  std::optional<tunnel::TunnelSettings> tunnel;
  std::vector<ExitSettings> exits;
  std::optional<routing::ServeExitSettings> serve_exit;
  std::optional<routing::RoutingSettings> routing;
  tunnel::HealthSettings health;
  bool operator==(const Config&) const = default;
};

}  // namespace oceanid
