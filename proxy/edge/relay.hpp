#pragma once
// Two connected sockets, bytes between them. The hot path and the long life of every tunnel, hence
// a callback-driven object: no coroutine frame, no buffer while idle.
//
//   client --- up ---> server        each flow by itself:
//   client <-- down -- server        reading -> end of stream -> rest delivered -> FIN passed on
//
// - Half-close: the end of one flow is passed on as shutdown(SHUT_WR); the other one goes on. While
//   only one flow is left, silence of `fin` ends the tunnel, before that silence of `idle`.
// - Reset: a connection that breaks breaks the other one too (SO_LINGER 0), after what it had sent
//   was delivered as far as the kernel still had it.
// - Small traffic is copied through the loop's scratch buffer; a flow that fills it turns to
//   splice(2) through a borrowed pipe and back when it slows down.
// - With a limit the flows copy only, as much as the limit's owner lets through.
// - Work per wake-up is bounded, so that one fast tunnel cannot starve the others.
//
// One thread. `done` is called once, from the event loop, after both sockets are closed; the relay
// may be destroyed inside it, and must not be destroyed earlier while the loop still runs.

#include "proxy/edge/relay_pool.hpp"
#include "proxy/edge/socket_linux.hpp"
#include "proxy/edge/throttle.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace oceanid::proxy {

enum class ClosedBy : std::uint8_t { client, server, idle, limit, drain, proxy };
std::string_view to_string(ClosedBy who);

struct RelayTimeouts {
  std::chrono::milliseconds idle{3'600'000};
  std::chrono::milliseconds fin{60'000};
};

class Relay {
 public:
  using Done = std::function<void(Relay&)>;

  Relay(RelayPool& pool, Descriptor client, Descriptor server, RelayTimeouts timeouts, Done done);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Before start(); shared with other tunnels, null: no limit.
  void limit(std::shared_ptr<Throttle> throttle) { throttle_ = std::move(throttle); }

  // `early`: what the client sent behind its request, for the server (counted). `greeting`: our own
  // words to the client before the server's (not counted).
  void start(std::string early, std::string greeting);

  // Ends both connections now; `reset` tells both peers so.
  void cut(ClosedBy why, bool reset);

  std::uint64_t bytes_up() const { return flows_[up].bytes; }
  std::uint64_t bytes_down() const { return flows_[down].bytes; }
  ClosedBy closed_by() const { return closed_by_; }
  bool was_reset() const { return was_reset_; }
  SteadyClock::time_point last_activity() const { return last_activity_; }
  std::optional<SteadyClock::time_point> first_byte() const { return first_byte_; }

 private:
  static constexpr std::size_t up = 0;    // flow 0 reads from leg 0, the client
  static constexpr std::size_t down = 1;  // flow 1 reads from leg 1, the server
  enum class Step : std::uint8_t { go_on, wait_read, wait_write, wait_budget, stopped };

  // Bytes read and not yet sent; exists only while the receiver is slower than the sender.
  struct Held {
    std::string bytes;
    std::size_t sent = 0;
  };
  struct Flow {
    std::unique_ptr<Held> held;
    std::unique_ptr<Pipe> pipe;
    std::uint32_t in_pipe = 0;
    std::uint32_t streak = 0;  // bytes of consecutive large reads
    std::uint64_t bytes = 0;
    bool splicing = false;
    bool slowing = false;  // the last splice was a small one
    bool reading = false;  // a wait is pending, here and below
    bool writing = false;
    bool at_end = false;           // FIN received
    bool finished = false;         // FIN passed on
    bool broken = false;           // the receiver is gone
    std::unique_ptr<Timer> pause;  // until the limit lets more through; only with a limit
  };

  int from(std::size_t i) { return legs_[i].native_handle(); }
  int to(std::size_t i) { return legs_[1 - i].native_handle(); }
  void begin(std::size_t i);
  void pump(std::size_t i);
  Step flush(std::size_t i);
  Step flush_held(std::size_t i);
  Step flush_pipe(std::size_t i);
  Step fill(std::size_t i);
  Step fill_by_copy(std::size_t i);
  Step fill_by_splice(std::size_t i);
  Step fill_by_budget(std::size_t i);
  Step hand_over(std::size_t i, std::string_view bytes);
  Step on_read_end(std::size_t i, ssize_t result);
  Step on_send_error(std::size_t i);
  void count(std::size_t i, std::size_t bytes);
  void pass_end_on(std::size_t i);
  void wait_read(std::size_t i);
  void wait_write(std::size_t i);
  void wait_budget(std::size_t i);
  void watch_for_reset(std::size_t i);
  void arm_timer();
  void on_timer();
  void release_pipe(Flow& flow);
  void note_first(ClosedBy who);
  void end();
  void leave();  // the last statement of every handler

  RelayPool& pool_;
  std::array<Descriptor, 2> legs_;
  std::array<Flow, 2> flows_;
  Timer timer_;
  RelayTimeouts timeouts_;
  SteadyClock::time_point last_activity_;
  std::optional<SteadyClock::time_point> first_byte_;
  std::shared_ptr<Throttle> throttle_;
  Done done_;
  std::uint32_t pending_ = 0;  // handlers that the loop still holds
  ClosedBy closed_by_ = ClosedBy::proxy;
  bool closed_by_known_ = false;
  bool was_reset_ = false;
  bool ended_ = false;
};

}  // namespace oceanid::proxy
