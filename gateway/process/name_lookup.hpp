#pragma once
// Resolves the host names of tunnel endpoints for netd, which parses nothing from outside: again
// and again, since a peer's address may change (an endpoint that is resolved once and never again
// is a classic complaint). Asked outside the tunnels, of `tunnel.dns` or the host's servers. Main
// loop only.

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/ipc/messages.hpp"
#include "proxy/edge/resolver.hpp"
#include "tunnel/core/settings.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace oceanid::process {

class NameLookup {
 public:
  using Sink = std::function<void(const ipc::Resolved&)>;

  explicit NameLookup(asio::io_context& io);
  // Replaces what was asked before.
  void start(std::vector<std::string> names, const tunnel::TunnelSettings& settings, Sink sink);
  awaitable<void> stop();

 private:
  struct Round {
    std::unique_ptr<proxy::Resolver> resolver;
    std::vector<std::string> names;
    Sink sink;
  };
  static awaitable<void> ask(std::shared_ptr<Round> round, std::string name);

  asio::io_context& io_;
  std::shared_ptr<Round> round_;  // shared with its coroutines; an older round ends by itself
  TaskGroup tasks_;
};

}  // namespace oceanid::process
