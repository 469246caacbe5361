#pragma once
// The client's end of one tunnel while it opens: TCP connect, then (through a proxy) the CONNECT
// head and its answer. Afterwards the owner uses the descriptor itself. Registered edge-triggered
// for both directions with a single epoll_ctl, so that the generator's own cost per tunnel stays
// small.

#include "bench/load/net.hpp"
#include "bench/load/options.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace oceanid::bench {

inline constexpr std::size_t kPingBytes = 64;

class Tunnel {
 public:
  enum class Phase { closed, connecting, asking, open, failed };

  // Starts opening the `serial`-th tunnel of a run; sources and targets are taken in turn by it.
  void start(Poller& poller, Handler& handler, const Options& options, std::size_t serial);

  // To be called with every event until the phase is open or failed.
  Phase advance(std::uint32_t events);

  // One 64-byte question, which the target echoes, or with --http a request that is answered with
  // as many bytes. The socket is known to have room for it.
  bool send_ping();
  // Reads what came of the echo; true once all of it is here. A lost tunnel turns the phase to
  // failed.
  bool receive_pong();

  // First byte that tells the target what to do (target.hpp), for the modes without pings; with
  // --http the request for a content without end.
  bool send_byte(char byte);

  Phase phase() const { return phase_; }
  int fd() const { return socket_.get(); }
  const std::string& reason() const { return reason_; }  // of the failure
  void fail_with(std::string reason);
  void close();

 private:
  void ask();
  void read_answer();
  bool send_request(std::string_view path);
  bool receive_response();

  Descriptor socket_;
  Phase phase_ = Phase::closed;
  bool through_proxy_ = false;
  bool http_ = false;  // no tunnel: every request is the proxy's
  SocketAddress target_;
  std::string answer_;
  std::size_t pong_bytes_ = 0;
  std::string reason_;
};

}  // namespace oceanid::bench
