// `oceanid drill failover`.

#include "gateway/ipc/drill.hpp"

#include "gateway/cli/commands.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <fmt/format.h>

namespace oceanid::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto patience = 60s;  // longer than any drill

}  // namespace

int drill_failover(const Options& options) {
  const auto answer = ask(options, "drill", patience);
  if (!answer) return complain(answer.error());
  const auto drill = ipc::decode<ipc::DrillView>(*answer, "drill");
  if (!drill) return complain(drill.error());
  const int code = drill->switched_seconds && drill->restored_seconds ? exit_ok : exit_failed;
  if (options.json) {
    fmt::print("{}\n", boost::json::serialize(*answer));
    return code;
  }
  fmt::print("{} was taken for broken: its echoes were not heard\n", drill->exit);
  if (drill->detected_seconds)
    fmt::print("  detected  {:.3f} s\n", *drill->detected_seconds);
  else
    fmt::print("  detected  not at all\n");
  if (drill->switched_seconds)
    fmt::print("  switched  {:.3f} s  to {}, {} connections reset\n", *drill->switched_seconds,
               drill->to, drill->connections_reset);
  else
    fmt::print("  switched  not at all\n");
  if (drill->restored_seconds)
    fmt::print("  restored  {:.3f} s  the traffic returns after {:g} s in good health\n",
               *drill->restored_seconds, drill->hold_seconds);
  else
    fmt::print("  restored  {} is not proven again yet; see oceanid status\n", drill->exit);
  return code;
}

}  // namespace oceanid::cli
