#pragma once
// Accepts connections of one listening socket and starts their sessions. Out of descriptors it does
// not spin: a spare one is given up to tell one client, then it pauses.
// Belongs to its core's loop.

#include "proxy/edge/server_core.hpp"

#include <memory>
#include <string>
#include <variant>

namespace oceanid::proxy {

class Listener {
 public:
  Listener(ServerCore& core, ListenSocket socket);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const std::string& key() const { return key_; }
  // Started through the core's task group; holds the listener until it has ended.
  static awaitable<void> run(std::shared_ptr<Listener> self);
  void close();  // takes what is queued first

 private:
  enum class Round : std::uint8_t { again, drained, exhausted };
  Round accept_some();
  void start(Accepted accepted);
  void shed_one();

  ServerCore& core_;
  std::string key_;
  std::variant<ListenerSettings, ForwardSettings> what_;
  Descriptor socket_;
  UniqueFd spare_;  // an open descriptor to give up when there are no others
  bool closed_ = false;
};

}  // namespace oceanid::proxy
