// `oceanid check --system`: one line for each finding, "ok|warn|error  what; remedy".

#include "gateway/cli/commands.hpp"
#include "gateway/process/host_check.hpp"

#include <algorithm>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

namespace oceanid::cli {

int check_system(const Options& options) {
  const auto config = load_or_complain(options);
  if (!config) return exit_usage;
  const auto findings = process::check_host(*config);
  if (!findings) return complain(findings.error());
  const bool failed = std::ranges::any_of(*findings, [](const routing::Finding& finding) {
    return finding.severity == routing::Severity::error;
  });
  if (options.json) {
    boost::json::array list;
    for (const auto& finding : *findings)
      list.push_back({{"severity", routing::to_string(finding.severity)},
                      {"topic", finding.topic},
                      {"what", finding.what},
                      {"remedy", finding.remedy}});
    fmt::print("{}\n", boost::json::serialize(boost::json::value{
                           {"format", 1}, {"ok", !failed}, {"findings", std::move(list)}}));
  } else {
    for (const auto& finding : *findings)
      fmt::print("{:<5}  {}{}{}\n", routing::to_string(finding.severity), finding.what,
                 finding.remedy.empty() ? "" : "; ", finding.remedy);
  }
  return failed ? exit_failed : exit_ok;
}

}  // namespace oceanid::cli
