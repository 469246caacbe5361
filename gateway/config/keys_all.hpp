#pragma once
// The top of the configuration's table of keys.

#include "gateway/config/config.hpp"
#include "gateway/config/keys_network.hpp"
#include "gateway/config/keys_proxy.hpp"
#include "gateway/config/keys_tunnel.hpp"

namespace oceanid::config {

inline constexpr std::array log_levels{
    Choice{"debug", LogLevel::debug}, Choice{"info", LogLevel::info},
    Choice{"warn", LogLevel::warn}, Choice{"error", LogLevel::error}};
inline constexpr std::array log_formats{Choice{"json", LogFormat::json},
                                        Choice{"text", LogFormat::text}};
inline constexpr EnumType<LogLevel> log_level{log_levels};
inline constexpr EnumType<LogFormat> log_format{log_formats};

template <class Visitor>
void describe(Visitor& v, LogSettings& s) {
  v.field({"level", "the least that is logged"}, s.level, log_level);
  v.field({"format", "of a line"}, s.format, log_format);
  v.field({"access", "one record for every connection"}, s.access, boolean);
}

// `admin` groups one member of the configuration.
struct AdminKeys {
  SocketAddress& bind;
};

template <class Visitor>
void describe(Visitor& v, AdminKeys& s) {
  v.field({"bind", "health, metrics and status over HTTP, read-only"}, s.bind, bind_address);
}

template <class Visitor>
void describe(Visitor& v, Config& s) {
  v.field({.name = "node", .doc = "this node's name", .default_text = "the host name"}, s.node,
          name);
  v.field({.name = "state_dir",
           .doc = "keys and what must outlive a restart",
           .default_text = "/var/lib/oceanid; without root $XDG_STATE_HOME/oceanid"},
          s.state_dir, folder_path);
  v.field({.name = "run_dir",
           .doc = "the control socket",
           .default_text = "/run/oceanid; without root $XDG_RUNTIME_DIR/oceanid, else none"},
          s.run_dir, Nullable{folder_path});
  v.field({"log", "to standard error"}, s.log, Object{});
  AdminKeys admin{s.admin_bind};
  v.field({"admin", "the admin endpoint"}, admin, Object{});
  v.field({"proxy", "the CONNECT proxy"}, s.proxy, Object{});
  v.field({"forwards", "named TCP forwards for programs that speak no proxy"}, s.forwards,
          List{Object{}});
  v.field({"tunnel", "WireGuard between the nodes; null: none"}, s.tunnel, Nullable{Object{}});
  v.field({"exits", "in order of preference; []: connections leave by the host's own routes"},
          s.exits, List{Object{}});
  v.field({"serve_exit", "this node is an exit; null: it is not"}, s.serve_exit,
          Nullable{Object{}});
  v.field({"routing", "pods' traffic takes the exits; null: only the proxy and the forwards do"},
          s.routing, Nullable{Object{}});
  v.field({"health", "how exits are watched"}, s.health, Object{});
}

}  // namespace oceanid::config
