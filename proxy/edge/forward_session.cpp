#include "proxy/edge/forward_session.hpp"

#include "proxy/core/client_acl.hpp"
#include "proxy/core/proxy_header.hpp"
#include "proxy/edge/upstream.hpp"

#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// Each target gets its share of the time that is left, so that a silent first one leaves some to
// the next.
SteadyClock::time_point share_of(SteadyClock::time_point deadline, std::size_t targets_left) {
  const auto now = SteadyClock::now();
  return now + (deadline - now) / static_cast<SteadyClock::rep>(targets_left);
}

awaitable<std::expected<Upstream, Refusal>> first_that_answers(ServerCore& core,
                                                               const ForwardSettings& forward,
                                                               Trace& trace) {
  const auto deadline = SteadyClock::now() + core.snapshot()->runtime->proxy->timeouts.connect;
  std::expected<Upstream, Refusal> out = std::unexpected(Refusal{});
  const std::vector<HostPort> targets = core.probes().in_order(forward);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    UpstreamRequest request;
    request.destination = targets[i];
    request.exit = forward.exit;
    request.guarded = false;
    request.deadline = share_of(deadline, targets.size() - i);
    trace.record.host = request.destination.host;
    trace.record.port = request.destination.port;
    out = co_await open_upstream(core, std::move(request), trace);
    if (!out && out.error().reason == Reason::no_exit) break;
    core.probes().note(forward, targets[i], out.has_value());
    if (out) break;
  }
  co_return out;
}

}  // namespace

awaitable<void> serve_forward(ServerCore& core, Descriptor client, SocketAddress peer,
                              ForwardSettings forward) {
  const auto snapshot = core.snapshot();
  Trace trace = core.begin(peer, "forward");
  trace.forward = forward.name;
  trace.record.rule = fmt::format("forwards: {}", forward.name);
  if (!forward.to.empty()) {
    trace.record.host = forward.to.front().host;
    trace.record.port = forward.to.front().port;
  }
  const auto refuse = [&](Reason reason) {
    reset_on_close(client.native_handle());
    client.close();
    core.finish(trace, reason);
  };

  const auto& clients = forward.clients ? *forward.clients : snapshot->runtime->proxy->clients;
  if (!contains(clients, peer.address)) {
    refuse(Reason::client_not_allowed);
    co_return;
  }
  auto slot =
      core.ledger().take(forward.name, peer.address, {forward.max_connections, forward.per_client});
  if (!slot) {
    core.stats().shed(slot.error());
    refuse(slot.error());
    co_return;
  }
  core.admitted(trace);
  auto upstream = co_await first_that_answers(core, forward, trace);
  if (!upstream) {
    refuse(upstream.error().reason);
    co_return;
  }
  if (forward.proxy_protocol) {
    // The first bytes on a fresh connection: they fit, or it is gone and the relay will see that.
    const ProxyHeader header{peer, local_address(client.native_handle())};
    static_cast<void>(send_some(upstream->socket.native_handle(), write_proxy_header(header)));
  }
  ServerCore::Opening opening{
      std::move(client), std::move(upstream->socket), {}, {}, std::move(upstream->exit),
      std::move(*slot)};
  core.open_tunnel(std::move(trace), std::move(opening));
}

}  // namespace oceanid::proxy
