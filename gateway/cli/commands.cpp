#include "gateway/cli/commands.hpp"

#include "gateway/cli/status_text.hpp"
#include "gateway/config/load.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "gateway/process/control.hpp"
#include "gateway/process/offline.hpp"
#include "gateway/process/run.hpp"
#include "tunnel/edge/key_store.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <thread>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace oceanid::cli {
namespace {

using namespace std::chrono_literals;

// A command whose answer is one sentence.
int tell(const Options& options, const std::string& command, std::chrono::milliseconds patience,
         boost::json::value arguments = nullptr) {
  const auto answer = ask(options, command, patience, std::move(arguments));
  if (!answer) return complain(answer.error());
  fmt::print("{}\n", answer->is_string() ? answer->get_string().c_str() : "done");
  return exit_ok;
}

// Of the operator who asks: a change that would cut it off is refused.
std::string ssh_connection() {
  const char* text = std::getenv("SSH_CONNECTION");
  return text == nullptr ? std::string() : std::string(text);
}

int print_status_once(const Options& options) {
  const auto answer = ask(options, "status", 5s);
  if (!answer) return complain(answer.error());
  if (options.json) {
    fmt::print("{}\n", boost::json::serialize(*answer));
    return exit_ok;
  }
  const auto snapshot = ipc::decode<ipc::GatewaySnapshot>(*answer, "status");
  if (!snapshot) return complain(snapshot.error());
  fmt::print("{}", status_text(*snapshot));
  return exit_ok;
}

}  // namespace

int complain(const Error& error) {
  fmt::print(stderr, "oceanid: {}\n", error.what);
  return error.code == Errc::invalid_argument ? exit_usage : exit_failed;
}

Result<boost::json::value> ask(const Options& options, const std::string& command,
                               std::chrono::milliseconds patience, boost::json::value arguments) {
  const auto path = control_socket_path(options);
  if (!path)
    return fail(Errc::invalid_argument,
                "the configuration has no run_dir here; name the socket with --socket PATH");
  return process::ask_gateway(*path, command, patience, std::move(arguments));
}

const char* version() {
  return process::version();
}

int run_gateway(const Options& options) {
  return process::run_gateway(options.config_file);
}

int show_status(const Options& options) {
  if (!options.watch) return print_status_once(options);
  for (;;) {
    fmt::print("\x1b[H\x1b[2J");
    if (const int code = print_status_once(options); code != exit_ok) return code;
    std::cout.flush();
    std::this_thread::sleep_for(1s);
  }
}

int reload_gateway(const Options& options) {
  return tell(options, "reload", 240s, {{"cut", options.cut}, {"ssh", ssh_connection()}});
}

int confirm_change(const Options& options) {
  return tell(options, "confirm", 10s);
}

int drain_gateway(const Options& options) {
  if (const int code = tell(options, "drain", 10s); code != exit_ok || options.no_wait) return code;
  std::optional<std::uint64_t> shown;
  for (;;) {
    const auto answer = ask(options, "status", 5s);
    if (!answer) break;  // it has ended, and its socket with it
    const auto snapshot = ipc::decode<ipc::GatewaySnapshot>(*answer, "status");
    if (!snapshot) return complain(snapshot.error());
    if (shown != snapshot->proxy.tunnels_open) {
      shown = snapshot->proxy.tunnels_open;
      fmt::print("{} tunnels open\n", *shown);
      std::cout.flush();
    }
    std::this_thread::sleep_for(500ms);
  }
  fmt::print("drained\n");
  return exit_ok;
}

int take_down(const Options& options) {
  const auto path = control_socket_path(options);
  if (path) {
    const auto answer = process::ask_gateway(*path, "down", 120s);
    if (answer) {
      fmt::print("{}\n", answer->is_string() ? answer->get_string().c_str() : "down");
      return exit_ok;
    }
    if (answer.error().code != Errc::not_found) return complain(answer.error());
  }
  const auto config = load_or_complain(options);
  if (!config) return exit_usage;
  const auto report = process::take_down_offline(*config);
  if (!report) return complain(report.error());
  fmt::print("{}\n", *report);
  return exit_ok;
}

int install_guard(const Options& options) {
  const auto report = process::install_guard(options.config_file);
  if (!report) return complain(report.error());
  fmt::print("{}\n", *report);
  return exit_ok;
}

int show_plan(const Options& options) {
  const auto config = load_or_complain(options);
  if (!config) return exit_usage;
  // A running gateway knows what a plan on paper cannot: resolved endpoints, the exit in use.
  if (const auto path = control_socket_path(options)) {
    const auto answer = process::ask_gateway(*path, "plan", 240s, {{"ssh", ssh_connection()}});
    if (!answer && answer.error().code != Errc::not_found) return complain(answer.error());
    if (answer && answer->is_string()) {
      fmt::print("{}", answer->get_string().c_str());
      return exit_ok;
    }
  }
  const auto text = process::plan_offline(*config);
  if (!text) return complain(text.error());
  fmt::print("{}", *text);
  return exit_ok;
}

int check_file(const Options& options) {
  if (options.system) return check_system(options);
  const LoadedConfig loaded = load_config(options.config_file);
  if (options.json) {
    boost::json::array problems;
    for (const auto& problem : loaded.problems)
      problems.push_back({{"line", problem.line},
                          {"column", problem.column},
                          {"path", problem.path},
                          {"message", problem.message}});
    const boost::json::value out = {{"format", 1},
                                    {"file", loaded.file},
                                    {"valid", loaded.config.has_value()},
                                    {"problems", std::move(problems)}};
    fmt::print("{}\n", boost::json::serialize(out));
    return loaded.config ? exit_ok : exit_usage;
  }
  for (const auto& problem : loaded.problems)
    fmt::print(stderr, "{}\n", problem.to_string(loaded.file));
  if (!loaded.config) {
    fmt::print(stderr, "{}: {} problem{}\n", loaded.file, loaded.problems.size(),
               loaded.problems.size() == 1 ? "" : "s");
    return exit_usage;
  }
  fmt::print("{}: valid\n", loaded.file);
  return exit_ok;
}

std::optional<Config> load_or_complain(const Options& options) {
  LoadedConfig loaded = load_config(options.config_file);
  for (const auto& problem : loaded.problems)
    fmt::print(stderr, "{}\n", problem.to_string(loaded.file));
  return std::move(loaded.config);
}

std::optional<std::string> control_socket_path(const Options& options) {
  if (!options.socket.empty()) return options.socket;
  const LoadedConfig loaded = load_config(options.config_file);
  // A file that does not parse any more must not keep its operator from the gateway that still
  // runs.
  const Config fallback = loaded.config ? *loaded.config : default_config(parse_context({}));
  if (!fallback.run_dir) return std::nullopt;
  return *fallback.run_dir + "/" + std::string(process::control_socket_name);
}

int keys_new(const Options&) {
  const auto key = tunnel::generate_private_key();
  if (!key) return complain(key.error());
  fmt::print("{}\n", key->reveal_base64());
  return exit_ok;
}

int keys_public(const Options& options) {
  if (options.from_stdin) {
    std::string text;
    std::getline(std::cin, text);
    const auto key = tunnel::PrivateKey::from_base64(text);
    if (!key) {
      fmt::print(stderr,
                 "oceanid: standard input holds no base64 private key (as `keys new` prints)\n");
      return exit_usage;
    }
    const auto shown = tunnel::public_key_of(*key);
    if (!shown) return complain(shown.error());
    fmt::print("{}\n", shown->to_base64());
    return exit_ok;
  }
  const auto config = load_or_complain(options);
  if (!config) return exit_usage;
  const auto shown = process::own_public_key(*config);
  if (!shown) return complain(shown.error());
  fmt::print("{}\n", *shown);
  return exit_ok;
}

int keys_rotate(const Options& options) {
  if (const auto path = control_socket_path(options)) {
    const auto answer = process::ask_gateway(
        *path, "rotate", 10s, {{"abandon", options.abandon}, {"force", options.force}});
    if (answer) {
      fmt::print("{}\n", answer->is_string() ? answer->get_string().c_str() : "done");
      return exit_ok;
    }
    if (answer.error().code != Errc::not_found) return complain(answer.error());
  }
  const auto config = load_or_complain(options);
  if (!config) return exit_usage;
  const auto text = process::rotate_offline(*config, options.abandon, options.force);
  if (!text) return complain(text.error());
  fmt::print("{}\n", *text);
  return exit_ok;
}

int not_available(const std::string& command) {
  fmt::print(stderr, "oceanid: \"{}\" is not available in this version\n", command);
  return exit_usage;
}

}  // namespace oceanid::cli
