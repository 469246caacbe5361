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
#include <map>
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
  // These are asked at once and every two seconds, past the cache, for as long as they are named
  // here: their tunnels do not answer, so the address may have changed.
  void hurry(std::vector<std::string> names);
  awaitable<void> stop();

 private:
  struct Round {
    std::function<std::unique_ptr<proxy::Resolver>()> make_resolver;
    std::unique_ptr<proxy::Resolver> resolver;
    std::vector<std::string> names;
    std::vector<std::string> urgent;
    std::map<std::string, asio::steady_timer> pauses;
    Sink sink;
  };
  static awaitable<void> ask(std::shared_ptr<Round> round, std::string name);
  static awaitable<void> pause(Round& round, const std::string& name, bool answered);

  asio::io_context& io_;
  std::shared_ptr<Round> round_;  // shared with its coroutines; an older round ends by itself
  TaskGroup tasks_;
};

}  // namespace oceanid::process
