#pragma once
// One authenticated TLS connection of a shim session, and the frames in it. Writes only while the
// socket takes more (TCP_NOTSENT_LOWAT), one record at a time out of the session's queue. Says
// something every second, an empty frame if need be, and is dead when nothing has come for three:
// counted in turns of its own clock, so that a process that was itself stopped condemns nobody.
// Belongs to one thread.

#include "gateway/base/runtime/asio.hpp"
#include "tunnel/core/datagram_queue.hpp"
#include "tunnel/core/frame_codec.hpp"
#include "tunnel/edge/transport_tls.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace oceanid::tunnel {

class ShimLink {
 public:
  using Descriptor = asio::posix::stream_descriptor;
  struct Events {
    std::function<void(const std::vector<ByteSpan>&)> datagrams;  // valid during the call
    std::function<void()> writable;  // send_from() was refused before and would work again
  };

  ShimLink(Descriptor socket, Ssl ssl);
  ShimLink(const ShimLink&) = delete;
  ShimLink& operator=(const ShimLink&) = delete;

  // Until the connection ends, close() or cancellation; owned by the caller for as long.
  awaitable<void> run(Events events);
  void close();

  // Writes records until the queue is empty (true) or the socket is full.
  bool send_from(DatagramQueue& queue, DatagramQueue::Time now);

  std::uint64_t bytes_in() const { return bytes_in_; }
  std::uint64_t bytes_out() const { return bytes_out_; }

 private:
  enum class Wait : std::uint8_t { nothing, writable, broken };
  awaitable<void> read_loop();
  awaitable<void> write_loop();
  awaitable<void> beat();
  bool take(ByteSpan bytes);
  Wait write_record();
  bool takes_more();
  void block();

  Descriptor socket_;
  Ssl ssl_;
  Events events_;
  FrameDecoder decoder_;
  std::vector<std::uint8_t> record_;  // not written yet, or in part
  std::vector<ByteSpan> whole_;       // what one read brought
  asio::steady_timer blocked_wait_;   // cancelled when the socket has become full
  bool blocked_ = false;
  bool running_ = false;
  bool heard_ = false;
  bool said_ = false;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace oceanid::tunnel
