// `oceanid explain`, `oceanid policy suggest`, `oceanid import smokescreen`.
#include "gateway/cli/commands.hpp"
#include "gateway/config/import_smokescreen.hpp"
#include "gateway/config/parse.hpp"
#include "gateway/ipc/policy_answers.hpp"

#include <fstream>
#include <iterator>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace oceanid::cli {
namespace {

using namespace std::chrono_literals;

void print_line(const char* name, const std::string& value) {
  if (!value.empty()) fmt::print("{:<12} {}\n", name, value);
}

std::string exit_text(const proxy::Explanation& e) {
  if (e.exit.empty()) return "none configured: this host's own routes";
  return e.device.empty() ? e.exit : fmt::format("{} (device {})", e.exit, e.device);
}

void print(const proxy::Explanation& e) {
  print_line("destination", HostPort{e.host, e.port}.to_string());
  print_line("from", e.user.empty() ? e.from : fmt::format("{}, user {}", e.from, e.user));
  print_line("role", e.role);
  print_line("rule", e.rule);
  for (const proxy::ExplainedAddress& one : e.addresses)
    print_line("address",
               fmt::format("{}  {}{}{}", one.address, one.allowed ? "allowed" : "refused",
                           one.rule.empty() ? "" : ": " + one.rule,
                           one.usable ? "" : " (the exit has no such family)"));
  if (e.status == 200) print_line("exit", exit_text(e));
  print_line("parent", e.parent);
  if (e.mtu > 0) print_line("mtu", fmt::format("{} bytes", e.mtu));
  print_line("routed", e.routed);
  print_line("verdict", e.verdict);
  print_line("answer", fmt::format("{} ({})", e.status, e.reason));
  fmt::print("\n{}\n", e.sentence);
}

}  // namespace

int explain_destination(const Options& options) {
  const auto answer = ask(options, "explain", 30s, boost::json::value_from(options.explain));
  if (!answer) return complain(answer.error());
  if (options.json) {
    fmt::print("{}\n", boost::json::serialize(*answer));
    return exit_ok;
  }
  const auto explanation = ipc::decode<proxy::Explanation>(*answer, "explain");
  if (!explanation) return complain(explanation.error());
  print(*explanation);
  return exit_ok;
}

int suggest_policy(const Options& options) {
  const auto answer = ask(options, "suggest", 30s, boost::json::value(options.role));
  if (!answer) return complain(answer.error());
  if (options.json) {
    fmt::print("{}\n", boost::json::serialize(*answer));
    return exit_ok;
  }
  const auto inventory = ipc::decode<proxy::RoleInventory>(*answer, "suggest");
  if (!inventory) return complain(inventory.error());
  std::uint64_t requests = 0;
  for (const auto& one : inventory->destinations)
    requests += one.count;
  if (requests == 0) {
    fmt::print(stderr,
               "oceanid: role \"{}\" has reached nothing yet, or is not in report mode since the "
               "worker started\n",
               options.role);
    return exit_failed;
  }
  fmt::print("# role {}: {} destinations, {} requests\n", inventory->role,
             inventory->destinations.size(), requests);
  if (inventory->other > 0)
    fmt::print("# {} more requests went to rarely used destinations that are not listed\n",
               inventory->other);
  fmt::print("allow:\n");
  for (const std::string& entry : proxy::suggest_allow(*inventory))
    fmt::print("  - \"{}\"\n", entry);
  return exit_ok;
}

int import_smokescreen(const Options& options) {
  std::ifstream file(options.import_file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) {
    fmt::print(stderr, "oceanid: cannot read {}\n", options.import_file);
    return exit_failed;
  }
  const auto imported = config::import_smokescreen(text);
  if (!imported) {
    for (const Problem& problem : imported.error())
      fmt::print(stderr, "{}\n", problem.to_string(options.import_file));
    return exit_usage;
  }
  for (const std::string& warning : imported->warnings)
    fmt::print(stderr, "oceanid: warning: {}\n", warning);
  fmt::print("{}", imported->yaml);
  return exit_ok;
}

}  // namespace oceanid::cli
