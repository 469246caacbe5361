// `oceanid connections [list|kill ID]`: the live tunnels of the running gateway.
#include "gateway/ipc/connections.hpp"

#include "gateway/cli/commands.hpp"
#include "gateway/cli/status_text.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace oceanid::cli {
namespace {

using namespace std::chrono_literals;

std::string short_age(double seconds) {
  if (seconds < 60) return fmt::format("{:.0f} s", seconds);
  if (seconds < 3600) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

void print(const proxy::ConnectionList& list) {
  constexpr auto row =
      "{:<16}  {:>8}  {:>8}  {:<22}  {:<12}  {:<36}  {:<22}  {:<9}  {:>10}  {:>10}\n";
  if (!list.connections.empty())
    fmt::print(row, "ID", "AGE", "IDLE", "SOURCE", "ROLE", "DESTINATION", "ADDRESS", "EXIT", "UP",
               "DOWN");
  for (const proxy::ConnectionView& one : list.connections)
    fmt::print(row, one.id, short_age(one.age_seconds), short_age(one.idle_seconds), one.source,
               one.forward.empty() ? one.role : one.forward,
               HostPort{one.host, one.port}.to_string(), one.address,
               one.exit.empty() ? "-" : one.exit, human_bytes(one.bytes_up),
               human_bytes(one.bytes_down));
  if (list.matching > list.connections.size())
    fmt::print("… and {} more (--limit)\n", list.matching - list.connections.size());
  fmt::print("{} tunnels open, {} listed\n", list.open, list.connections.size());
}

}  // namespace

int list_connections(const Options& options) {
  const ConnectionOptions& wanted = options.connections;
  proxy::ConnectionFilter filter{{},          wanted.host,    wanted.role,
                                 wanted.exit, wanted.forward, wanted.limit};
  for (const std::string& text : wanted.sources) {
    const auto prefix = Prefix::parse(text);
    if (!prefix) return complain(prefix.error());
    filter.sources.push_back(*prefix);
  }
  const auto answer = ask(options, "connections", 30s, boost::json::value_from(filter));
  if (!answer) return complain(answer.error());
  if (options.json) {
    fmt::print("{}\n", boost::json::serialize(*answer));
    return exit_ok;
  }
  const auto list = ipc::decode<proxy::ConnectionList>(*answer, "connections");
  if (!list) return complain(list.error());
  print(*list);
  return exit_ok;
}

int kill_connection(const Options& options) {
  const auto answer = ask(options, "kill", 30s, boost::json::value(options.connections.id));
  if (!answer) return complain(answer.error());
  fmt::print("{}\n", answer->is_string() ? answer->get_string().c_str() : "done");
  return exit_ok;
}

}  // namespace oceanid::cli
