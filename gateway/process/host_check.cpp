#include "gateway/process/host_check.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/clock_guard.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/state_files.hpp"
#include "routing/core/plan.hpp"
#include "routing/edge/host_survey.hpp"
#include "tunnel/edge/kernel_backend.hpp"

#include <chrono>
#include <cstdlib>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

Result<std::vector<routing::Finding>> look(const Config& config, routing::Depth depth) {
  // What to look at depends on the links, which the first look tells.
  auto first = routing::survey_host({}, routing::Depth::cheap);
  if (!first) return std::unexpected(std::move(first.error()));
  const auto inputs =
      routing_inputs(config, first->facts, planned_tunnels(config), literal_endpoints(config), {});
  auto host = routing::survey_host(inputs, depth);
  if (!host) return std::unexpected(std::move(host.error()));
  if (const char* api = std::getenv("KUBERNETES_SERVICE_HOST"))
    host->service_address = IpAddress::parse(api);
  if (depth == routing::Depth::whole && config.tunnel)
    host->features["wireguard"] = tunnel::KernelBackend::probe().has_value();
  auto out = routing::judge_host(inputs, *host);
  for (const auto& sentence : routing::conflicts(inputs, own_session()))
    out.insert(out.begin(), {routing::Severity::error, "configuration", sentence, {}});
  return out;
}

// None: no tunnel, no handshake yet, or not ours to read.
std::optional<routing::Finding> look_at_clock(const Config& config) {
  if (!config.tunnel) return std::nullopt;
  const auto last = read_last_handshake(config.state_dir);
  if (!last) return std::nullopt;
  const auto behind =
      std::chrono::ceil<std::chrono::seconds>(*last - std::chrono::system_clock::now());
  if (behind < std::chrono::seconds(2))
    return routing::Finding{
        routing::Severity::ok, "clock", "the clock is past the last WireGuard handshake", {}};
  return routing::Finding{
      routing::Severity::warn, "clock",
      fmt::format("the clock is {} s behind the last WireGuard handshake: peers refuse new ones",
                  behind.count()),
      clock_remedy(last_handshake_file(config.state_dir))};
}

}  // namespace

Result<std::vector<routing::Finding>> check_host(const Config& config) {
  auto out = look(config, routing::Depth::whole);
  if (!out) return out;
  if (auto clock = look_at_clock(config)) out->push_back(std::move(*clock));
  return out;
}

void warn_about_host(const Config& config) {
  if (!needs_privileges(config)) return;
  const auto findings = look(config, routing::Depth::cheap);
  if (!findings) return;  // what cannot be asked here fails louder elsewhere
  // Sysctls that we are about to write are no news, and contradictions are refused anyway.
  for (const auto& finding : *findings) {
    const bool others =
        finding.topic == "rules" || finding.topic == "marks" || finding.topic == "networkd";
    const bool known =
        finding.topic == "configuration" || finding.severity == routing::Severity::ok;
    if (!known && (others || finding.severity == routing::Severity::error))
      log::warn("routing", finding.what, {{"remedy", finding.remedy}});
  }
}

}  // namespace oceanid::process
