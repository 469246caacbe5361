#pragma once
// One end of the conversation between netd and a child: frames over a SOCK_SEQPACKET socketpair.
// A frame is a type, a JSON body and file descriptors (SCM_RIGHTS, at most 64). A body too large
// for a datagram travels in a sealed memfd. Sending never waits: what the socket does not take at
// once is queued, and a peer that lets the queue fill is to be given up by the caller. One thread;
// errors as values; the destructor closes the socket, which the other side sees as EOF.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/json/value.hpp>

namespace oceanid::ipc {

struct Frame {
  std::string type;
  boost::json::value body;
  std::vector<UniqueFd> fds;
};

inline constexpr std::size_t max_fds_per_frame = 64;
inline constexpr std::size_t max_body_bytes = 8U << 20U;
inline constexpr std::size_t max_queued_frames = 256;

Result<std::pair<UniqueFd, UniqueFd>> make_socketpair();
// A sealed, read-only copy of `text` as a file descriptor.
Result<UniqueFd> make_memfd(const std::string& name, std::string_view text);
Result<std::string> read_fd(int fd,
                            std::size_t limit);  // from its beginning; for memfds and small files

class Channel {
 public:
  Channel(asio::any_io_executor executor, UniqueFd socket);

  Result<void> send(Frame frame);      // Errc::closed: gone; Errc::limit: the peer does not read
  awaitable<Result<Frame>> receive();  // Errc::closed at EOF; Errc::protocol for nonsense
  awaitable<void> write_loop();        // run once per channel by the owner's task group
  void close();

 private:
  struct Packet {
    std::string text;
    std::vector<UniqueFd> fds;
  };
  enum class Sent { done, full, gone };
  Sent send_now(const Packet& packet);

  asio::posix::stream_descriptor socket_;
  std::deque<Packet> queue_;
  asio::steady_timer queued_;  // cancelled when the queue gets its first packet
};

}  // namespace oceanid::ipc
