#pragma once
// One function per command; each returns the exit code and prints for a human, or JSON on request.

#include "gateway/config/config.hpp"
#include "proxy/core/explanation.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

namespace oceanid::cli {

inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;  // usage or configuration

struct ConnectionOptions {
  std::vector<std::string> sources;  // addresses or prefixes
  std::string host;
  std::string role;
  std::string exit;
  std::string forward;
  std::uint32_t limit = 1000;
  std::string id;  // of `kill`
};

struct Options {
  std::string config_file;  // empty: the embedded default
  std::string socket;       // empty: RUN_DIR/control.sock
  std::string proxy_url;
  bool json = false;
  bool watch = false;
  bool kubernetes = false;
  bool shell = false;
  bool from_stdin = false;
  bool no_wait = false;
  bool cut = false;
  bool abandon = false;
  bool force = false;
  bool system = false;
  ConnectionOptions connections;
  proxy::ExplainQuery explain;
  std::string role;
  std::string import_file;
  std::string host;  // of `mtu`
};

const char* version();

int run_gateway(const Options& options);
int check_file(const Options& options);
int check_system(const Options& options);
int show_plan(const Options& options);
int show_status(const Options& options);
int reload_gateway(const Options& options);
int confirm_change(const Options& options);
int drain_gateway(const Options& options);
int list_connections(const Options& options);
int kill_connection(const Options& options);
int explain_destination(const Options& options);
int suggest_policy(const Options& options);
int import_smokescreen(const Options& options);
int show_mtu(const Options& options);
int drill_failover(const Options& options);
int install_guard(const Options& options);
int take_down(const Options& options);
int print_env(const Options& options);
int keys_new(const Options& options);
int keys_public(const Options& options);
int keys_rotate(const Options& options);
int not_available(const std::string& command);

// Reads and validates the configuration that `options` names; prints every problem. None: exit
// code 2.
std::optional<Config> load_or_complain(const Options& options);
std::optional<std::string> control_socket_path(const Options& options);

// Of the running gateway, through its control socket.
Result<boost::json::value> ask(const Options& options, const std::string& command,
                               std::chrono::milliseconds patience,
                               boost::json::value arguments = nullptr);
int complain(const Error& error);

}  // namespace oceanid::cli
