// What a changed policy says about tunnels that are open, and what report mode has seen.
#include "proxy/core/client_acl.hpp"
#include "proxy/edge/server_core.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// Some of many: an operator reads the count, and a frame has its limit.
constexpr std::size_t most_listed = 1000;

std::string forbidden_forward(const Runtime& runtime, const std::string& name,
                              const AccessRecord& record) {
  const auto forward = std::ranges::find(runtime.forwards, name, &ForwardSettings::name);
  if (forward == runtime.forwards.end()) return fmt::format("forwards: {} is gone", name);
  const auto source = SocketAddress::parse(record.source);
  const auto& clients = forward->clients ? *forward->clients : runtime.proxy->clients;
  if (source && !contains(clients, source->address))
    return fmt::format("forwards.{}.clients", name);
  return {};
}

}  // namespace

std::string ServerCore::forbidden_by(const Tunnel& tunnel) const {
  const Trace& trace = tunnel.trace;
  if (!trace.forward.empty())
    return forbidden_forward(*snapshot_->runtime, trace.forward, trace.record);
  if (!trace.asking) return {};
  const Asking& asking = *trace.asking;
  if (!contains(snapshot_->settings().clients, asking.who.source)) return "proxy.clients";
  const Decision now = snapshot_->policy.decide(asking.who, asking.destination, asking.how);
  if (!now.allowed) return now.rule;
  const auto dialled = SocketAddress::parse(trace.record.address);
  if (!dialled) return {};
  if (const auto said = now.judge_address(dialled->address); !said.allowed) return said.rule;
  if (const auto said = snapshot_->guard.judge(dialled->address); !said.allowed) return said.rule;
  return {};
}

ConnectionList ServerCore::forbidden(bool cut) {
  ConnectionList out;
  for (const auto& tunnel : tunnels_) {
    ++out.open;
    const std::string rule = forbidden_by(*tunnel);
    if (rule.empty()) continue;
    ++out.matching;
    if (out.connections.size() < most_listed) {
      out.connections.push_back(view_of(*tunnel));
      out.connections.back().rule = rule;
    }
    if (cut) tunnel->relay.cut(ClosedBy::proxy, /*reset=*/true);
  }
  return out;
}

void ServerCore::note_reached(Trace& trace) {
  if (!trace.asking || !trace.asking->inventory || trace.noted) return;
  trace.noted = true;
  const std::string_view rule =
      trace.record.verdict == "report" ? std::string_view() : allow_entry_of(trace.record.rule);
  inventory_.reached(trace.record.role, trace.asking->destination, rule);
}

}  // namespace oceanid::proxy
