#pragma once
// Bytes between an established TLS connection and the session's socket pair, see tls_session.hpp.
// Two tasks of the core's group share the pump and end together.

#include "gateway/base/tls/openssl.hpp"
#include "proxy/edge/client_wire.hpp"
#include "proxy/edge/server_core.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace oceanid::proxy {

class TlsPump {
 public:
  // `sessions_fd`: the other end of `inner`, still owned by its session.
  static void start(ServerCore& core, Ssl ssl, Descriptor outer, Descriptor inner, int sessions_fd);

  TlsPump(ServerCore& core, Ssl ssl, Descriptor outer, Descriptor inner, int sessions_fd);
  ~TlsPump();
  TlsPump(const TlsPump&) = delete;
  TlsPump& operator=(const TlsPump&) = delete;

 private:
  using Self = std::shared_ptr<TlsPump>;
  enum class Flow : std::uint8_t { ended, broken };

  static awaitable<void> run_up(Self self);    // client to session
  static awaitable<void> run_down(Self self);  // session to client
  awaitable<Flow> up();
  awaitable<Flow> down();
  awaitable<bool> deliver(std::string_view bytes);
  awaitable<bool> encrypt(std::string_view bytes);
  awaitable<bool> say_goodbye();
  awaitable<bool> ready(Descriptor& fd, Descriptor::wait_type what, Timer& timer);
  // What an SSL call asked for; false: it has failed.
  awaitable<bool> wait_as_told(int result, Timer& timer);
  bool tunnel_was_reset() const;
  void end(bool reset);

  ServerCore& core_;
  Ssl ssl_;
  Descriptor outer_;
  Descriptor inner_;
  int sessions_fd_;
  std::shared_ptr<ClientWire> wire_;
  Timer up_timer_;
  Timer down_timer_;
  bool up_finished_ = false;
  bool ended_ = false;
};

}  // namespace oceanid::proxy
