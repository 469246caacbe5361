#pragma once
// What a stranger sends before there is a session with him (a PROXY header, a handshake, a
// greeting) and our last word to him: both bounded in time and bytes, the first with a seat in the
// lobby.

#include "proxy/edge/server_core.hpp"

#include <string>

namespace oceanid::proxy {

class Intake {
 public:
  // `socket` stays with the caller and outlives the intake.
  Intake(ServerCore& core, Descriptor& socket, const IpAddress& client,
         SteadyClock::time_point deadline);
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  // Waits for bytes and appends them. ok, or why none will come: head_timeout, client_gone,
  // overloaded (others need the room more).
  awaitable<Reason> read(std::string& into);
  // The same, but they stay in the socket's queue: a second look may show the same ones.
  awaitable<Reason> peek(std::string& into);
  void discard(std::size_t size);  // so many that a peek has shown
  // At least one byte can be read, or the stream has ended.
  awaitable<Reason> wait();
  awaitable<Reason> wait_writable();
  void set_deadline(SteadyClock::time_point deadline) { deadline_ = deadline; }

 private:
  awaitable<Reason> wait_for(Descriptor::wait_type what);
  awaitable<Reason> receive(std::string& into, int flags);

  ServerCore& core_;
  Descriptor& socket_;
  Timer timer_;
  SteadyClock::time_point deadline_;
  Lobby::Seat seat_;
};

// Sends the answer, closes our direction and throws away what still comes for a moment: closing
// with unread bytes would send a reset that overtakes the answer.
awaitable<void> say_and_leave(ServerCore& core, Descriptor& socket, std::string answer);

}  // namespace oceanid::proxy
