#include "gateway/cli/cli.hpp"

#include "gateway/cli/commands.hpp"
#include "gateway/process/launcher.hpp"
#include "gateway/process/transport_process.hpp"
#include "gateway/process/worker.hpp"

#include <exception>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace oceanid::cli {
namespace {

// Commands that are named already and whose feature is not part of this version: they say so
// instead of failing like a typing error.
struct Later {
  const char* name;
  const char* what;
};
constexpr Later later_commands[] = {
    {"bench", "measure throughput, latency and failover"},
};

void add_file_option(CLI::App& command, Options& options) {
  command.add_option("-c,--config", options.config_file, "configuration file")->option_text("FILE");
}

void add_socket_option(CLI::App& command, Options& options) {
  command.add_option("--socket", options.socket, "control socket of the running gateway")
      ->option_text("PATH");
}

struct Built {
  CLI::App app{"oceanid: egress gateway (CONNECT proxy, forwards, routing, WireGuard tunnels)",
               "oceanid"};
  Options options;
  int exit_code = exit_usage;
};

template <typename Command>
CLI::App* add(Built& built, const char* name, const char* help, Command command) {
  auto* sub = built.app.add_subcommand(name, help);
  sub->callback([&built, command] { built.exit_code = command(built.options); });
  return sub;
}

void add_keys(Built& built) {
  auto* keys = built.app.add_subcommand("keys", "WireGuard keys: new, public, rotate");
  keys->require_subcommand(1);
  auto* fresh = keys->add_subcommand("new", "print a new private key");
  fresh->callback([&built] { built.exit_code = keys_new(built.options); });
  auto* shown = keys->add_subcommand(
      "public", "print this node's public key (its private key is created when missing)");
  add_file_option(*shown, built.options);
  shown->add_flag("--stdin", built.options.from_stdin, "of the private key on standard input");
  shown->callback([&built] { built.exit_code = keys_public(built.options); });
  auto* rotate = keys->add_subcommand(
      "rotate", "prepare this node's next key, or say how far the change to it is");
  add_file_option(*rotate, built.options);
  add_socket_option(*rotate, built.options);
  rotate->add_flag("--abandon", built.options.abandon, "remove the prepared key");
  rotate->add_flag("--force", built.options.force, "change now, though a peer does not know it");
  rotate->callback([&built] { built.exit_code = keys_rotate(built.options); });
}

void add_connections(Built& built) {
  auto& options = built.options;
  auto* connections =
      built.app.add_subcommand("connections", "live tunnels: list (the default), kill ID");
  add_file_option(*connections, options);
  add_socket_option(*connections, options);
  auto& filter = options.connections;
  connections->add_option("--source", filter.sources, "clients' addresses or prefixes")
      ->option_text("CIDR");
  connections->add_option("--host", filter.host, "destination, or *.suffix")->option_text("HOST");
  connections->add_option("--role", filter.role)->option_text("NAME");
  connections->add_option("--exit", filter.exit)->option_text("NAME");
  connections->add_option("--forward", filter.forward)->option_text("NAME");
  connections->add_option("--limit", filter.limit, "how many to list (1000)")->option_text("N");
  connections->add_flag("--json", options.json, "machine-readable");
  connections->add_subcommand("list", "the oldest first")->fallthrough();
  auto* kill = connections->add_subcommand("kill", "reset both ends of one tunnel");
  kill->add_option("id", options.connections.id, "as list and the access record show it")
      ->required()
      ->option_text("ID");
  kill->fallthrough();  // -c and --socket are the parent's
  connections->require_subcommand(0, 1);
  connections->callback([&built, kill] {
    built.exit_code =
        kill->parsed() ? kill_connection(built.options) : list_connections(built.options);
  });
}

void add_policy(Built& built) {
  auto& options = built.options;
  auto* explained =
      add(built, "explain", "what would happen to a request, and why", explain_destination);
  add_file_option(*explained, options);
  add_socket_option(*explained, options);
  explained->add_option("destination", options.explain.destination)
      ->required()
      ->option_text("HOST:PORT");
  explained->add_option("--from", options.explain.from, "the client's address (127.0.0.1)")
      ->option_text("ADDRESS");
  explained->add_option("--user", options.explain.user, "the authenticated user")
      ->option_text("NAME");
  explained
      ->add_option("--certificate", options.explain.certificates,
                   "names in the client's certificate")
      ->option_text("NAME");
  explained->add_flag("--json", options.json, "machine-readable");

  auto* policy = built.app.add_subcommand("policy", "work on the access lists: suggest ROLE");
  policy->require_subcommand(1);
  auto* suggest = policy->add_subcommand(
      "suggest", "the smallest allow list for what a role in report mode has reached");
  add_file_option(*suggest, options);
  add_socket_option(*suggest, options);
  suggest->add_option("role", options.role, "its name, or default")
      ->required()
      ->option_text("ROLE");
  suggest->add_flag("--json", options.json, "machine-readable");
  suggest->callback([&built] { built.exit_code = suggest_policy(built.options); });

  auto* import = built.app.add_subcommand("import", "another proxy's access list: smokescreen");
  import->require_subcommand(1);
  auto* smokescreen =
      import->add_subcommand("smokescreen", "print a smokescreen ACL file as our policy");
  smokescreen->add_option("file", options.import_file)->required()->option_text("FILE");
  smokescreen->callback([&built] { built.exit_code = import_smokescreen(built.options); });
}

void add_mtu(Built& built) {
  auto& options = built.options;
  auto* mtu = add(built, "mtu", "what a host's or a peer's path carries, layer by layer", show_mtu);
  add_file_option(*mtu, options);
  add_socket_option(*mtu, options);
  mtu->add_option("host", options.host, "a host, or the name of a peer (with -c)")
      ->required()
      ->option_text("HOST");
  mtu->add_flag("--json", options.json, "machine-readable");
}

void add_drill(Built& built) {
  auto* drill = built.app.add_subcommand("drill", "exercise a fault on purpose: failover");
  drill->require_subcommand(1);
  auto* failover = drill->add_subcommand(
      "failover", "take the current exit for broken, measure the switch, restore");
  add_file_option(*failover, built.options);
  add_socket_option(*failover, built.options);
  failover->add_flag("--json", built.options.json, "machine-readable");
  failover->callback([&built] { built.exit_code = drill_failover(built.options); });
}

void add_commands(Built& built) {
  auto& options = built.options;
  auto* run =
      add(built, "run", "run the gateway (no file: a plain CONNECT proxy on :3128)", run_gateway);
  add_file_option(*run, options);
  auto* check =
      add(built, "check", "validate a configuration; every error with its place", check_file);
  add_file_option(*check, options);
  check->add_flag("--json", options.json, "machine-readable");
  check->add_flag("--system", options.system, "inspect this host: firewalls, numbers, kernel");
  auto* plan =
      add(built, "plan", "what run would change in the kernel; changes nothing", show_plan);
  add_file_option(*plan, options);
  auto* status =
      add(built, "status", "exits, tunnels, traffic, events, one diagnosis", show_status);
  add_file_option(*status, options);
  add_socket_option(*status, options);
  status->add_flag("--json", options.json, "machine-readable");
  status->add_flag("--watch", options.watch, "again every second");
  auto* reload = add(built, "reload", "apply the configuration file again", reload_gateway);
  add_file_option(*reload, options);
  add_socket_option(*reload, options);
  reload->add_flag("--cut", options.cut, "end open tunnels that the new policy forbids");
  auto* confirm =
      add(built, "confirm", "keep a change that is on probation (routing.confirm)", confirm_change);
  add_file_option(*confirm, options);
  add_socket_option(*confirm, options);
  auto* drain = add(built, "drain", "stop accepting, finish what runs, exit", drain_gateway);
  add_file_option(*drain, options);
  add_socket_option(*drain, options);
  drain->add_flag("--no-wait", options.no_wait, "return at once; do not show the progress");
  auto* guard =
      add(built, "guard", "install the kill switch of the last good configuration", install_guard);
  add_file_option(*guard, options);
  auto* down = add(built, "down", "remove every trace from the kernel", take_down);
  add_file_option(*down, options);
  add_socket_option(*down, options);
  auto* env = add(built, "env", "the proxy environment block for pods", print_env);
  add_file_option(*env, options);
  env->add_flag("--k8s", options.kubernetes, "as a Kubernetes container's env list");
  env->add_flag("--shell", options.shell, "as shell exports (the default)");
  env->add_option("--proxy", options.proxy_url, "address of the proxy as pods reach it")
      ->option_text("URL");
  add_connections(built);
  add_policy(built);
  add_mtu(built);
  add_drill(built);
  add_keys(built);
  for (const auto& later : later_commands) {
    auto* sub = built.app.add_subcommand(
        later.name, std::string(later.what) + " (not available in this version)");
    sub->allow_extras();
    sub->callback(
        [&built, name = std::string(later.name)] { built.exit_code = not_available(name); });
  }
}

}  // namespace

int run(int argc, char** argv) {
  // No commands for people: how the launcher executes children.
  if (argc == 3 && std::string_view(argv[1]) == process::worker_command)
    return process::worker_main(UniqueFd(process::child_channel_fd),
                                std::string_view(argv[2]) == "root");
  if (argc == 3 && std::string_view(argv[1]) == process::transport_command)
    return process::transport_main(UniqueFd(process::child_channel_fd),
                                   std::string_view(argv[2]) == "root");
  Built built;
  built.app.require_subcommand(1);
  built.app.set_version_flag("--version", std::string("oceanid ") + version());
  add_commands(built);
  try {
    built.app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {  // CLI11 speaks in exceptions; they end here
    return built.app.exit(e) == 0 ? exit_ok : exit_usage;
  } catch (const std::exception& e) {
    fmt::print(stderr, "oceanid: {}\n", e.what());
    return exit_failed;
  }
  return built.exit_code;
}

}  // namespace oceanid::cli
