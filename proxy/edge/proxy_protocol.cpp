#include "proxy/edge/proxy_protocol.hpp"

#include "proxy/core/client_acl.hpp"
#include "proxy/core/proxy_header.hpp"
#include "proxy/edge/intake.hpp"

#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// Bytes of an unfinished header are ours; of a finished one exactly its own are taken, so that what
// follows stays in the socket for whoever comes next (TLS among them).
awaitable<Reason> read_header(Intake& intake, ProxyHeaderRead& out) {
  std::string bytes;
  for (;;) {
    std::string seen = bytes;
    const Reason reason = co_await intake.peek(seen);
    if (reason != Reason::ok)
      co_return bytes.empty() || reason != Reason::client_gone ? reason : Reason::handshake_failed;
    out = read_proxy_header(seen);
    switch (out.state) {
      case ProxyHeaderRead::State::failed:
        co_return Reason::handshake_failed;
      case ProxyHeaderRead::State::done:
        intake.discard(out.size - bytes.size());
        co_return Reason::ok;
      case ProxyHeaderRead::State::need_more:
        intake.discard(seen.size() - bytes.size());
        bytes = std::move(seen);
    }
  }
}

}  // namespace

awaitable<bool> take_proxy_header(ServerCore& core, ClientConnection& client) {
  const auto snapshot = core.snapshot();
  Trace trace = core.begin(client.peer, "proxy_protocol");
  ProxyHeaderRead got;
  Reason reason = Reason::client_not_allowed;
  if (contains(client.listener.trusted, client.peer.address)) {
    Intake intake(core, client.socket, client.peer.address,
                  trace.started + snapshot->settings().timeouts.head);
    reason = co_await read_header(intake, got);
    if (!got.problem.empty())
      trace.record.rule = fmt::format("proxy.listeners.proxy_protocol: {}", got.problem);
  } else {
    trace.record.rule = "proxy.listeners.trusted";
  }
  if (reason == Reason::ok) {
    if (got.header) client.peer = got.header->source;
    co_return true;
  }
  reset_on_close(client.socket.native_handle());
  client.socket.close();
  // A balancer's port check comes and goes without a word.
  if (reason != Reason::client_gone) core.finish(trace, reason);
  co_return false;
}

}  // namespace oceanid::proxy
