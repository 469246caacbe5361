#pragma once
// Between WireGuard on this machine and the TLS connections to one peer: one loopback UDP socket,
// one queue of what waits, one to four connections. The first connection that takes more gets the
// next record; the others serve when it is stalled, so that datagrams keep their order as long as
// nothing is wrong. With no connection nothing is kept. Belongs to one thread.
//
//   WireGuard == UDP on 127.0.0.1 == [ session: queue ] == TLS, TLS == the peer's session

#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "tunnel/core/datagram_queue.hpp"
#include "tunnel/edge/shim_link.hpp"

#include <cstdint>
#include <list>
#include <memory>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace oceanid::tunnel {

class ShimSession {
 public:
  // `udp`: bound to a loopback address and connected to WireGuard's port.
  ShimSession(const asio::any_io_executor& executor, UniqueFd udp);
  ShimSession(const ShimSession&) = delete;
  ShimSession& operator=(const ShimSession&) = delete;

  awaitable<void> run();  // takes datagrams of WireGuard's until stop()
  void stop();

  // Runs the link as one of ours until it ends.
  awaitable<void> serve(std::shared_ptr<ShimLink> link);
  std::size_t links() const { return links_.size(); }
  void close_links();

  // What comes from the peer does not reach WireGuard while deaf: WireGuard answers to wherever
  // the last packet came from, and is being led elsewhere.
  void set_deaf(bool deaf) { deaf_ = deaf; }

  struct Counters {
    std::uint64_t to_peer = 0;    // datagrams
    std::uint64_t from_peer = 0;  // datagrams
    std::uint64_t dropped = 0;    // late, or for want of room or of a connection
  };
  Counters counters() const;

 private:
  bool take_datagrams();
  void pump();
  void deliver(const std::vector<ByteSpan>& datagrams);

  asio::posix::stream_descriptor udp_;
  DatagramQueue queue_;
  std::list<std::shared_ptr<ShimLink>> links_;  // in the order of their beginning
  bool deaf_ = false;
  bool stopping_ = false;
  std::uint64_t to_peer_ = 0;
  std::uint64_t from_peer_ = 0;
  std::uint64_t homeless_ = 0;  // dropped for want of a connection
};

}  // namespace oceanid::tunnel
