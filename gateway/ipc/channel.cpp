#include "gateway/ipc/channel.hpp"

#include "gateway/ipc/packet_codec.hpp"

#include <array>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace oceanid::ipc {
namespace {

constexpr std::size_t max_packet_bytes = 64U << 10U;  // well under the default wmem of 208 KiB
constexpr std::size_t control_bytes = CMSG_SPACE(sizeof(int) * max_fds_per_frame);

struct Received {
  std::string text;
  std::vector<UniqueFd> fds;
  bool truncated = false;
};

std::vector<UniqueFd> take_fds(msghdr& message) {
  std::vector<UniqueFd> out;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      out.emplace_back(fd);
    }
  }
  return out;
}

// Empty optional: nothing there yet.
Result<std::optional<Received>> receive_now(int socket) {
  Received out;
  out.text.resize(max_packet_bytes);
  alignas(cmsghdr) std::array<char, control_bytes> control{};
  iovec io{out.text.data(), out.text.size()};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (n < 0) return fail_errno("receive from the other process");
  out.fds = take_fds(message);
  if (n == 0) return fail(Errc::closed, "the other process closed the conversation");
  out.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  out.text.resize(static_cast<std::size_t>(n));
  return out;
}

Result<Frame> decode(Received received) {
  if (received.truncated)
    return fail(Errc::protocol, "an oversized message from the other process");
  auto packet = decode_packet(received.text);
  if (!packet) return std::unexpected(std::move(packet.error()));
  Frame frame{std::move(packet->type), std::move(packet->body), std::move(received.fds)};
  if (!packet->large) return frame;
  if (frame.fds.empty()) return fail(Errc::protocol, "a large message without its body");
  // Only memory can be sealed: reading from what a hostile peer passes never waits for a disk or
  // a network, and never sees it change.
  const int seals = ::fcntl(frame.fds.front().get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_WRITE) == 0)
    return fail(Errc::protocol, "a large message whose body is not a sealed memfd");
  auto text = read_fd(frame.fds.front().get(), max_body_bytes);
  if (!text) return std::unexpected(std::move(text.error()));
  frame.fds.erase(frame.fds.begin());
  auto body = decode_large_body(*text);
  if (!body) return std::unexpected(std::move(body.error()));
  frame.body = std::move(*body);
  return frame;
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> make_socketpair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0)
    return fail_errno("socketpair");
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Result<UniqueFd> make_memfd(const std::string& name, std::string_view text) {
  UniqueFd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno("memfd_create");
  while (!text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0) return fail_errno("write to a memfd");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return fail_errno("seal a memfd");
  return fd;
}

Result<std::string> read_fd(int fd, std::size_t limit) {
  std::string out;
  std::array<char, 16384> chunk{};
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(fd, chunk.data(), chunk.size(), at);
    if (n < 0) return fail_errno("read");
    if (n == 0) return out;
    out.append(chunk.data(), static_cast<std::size_t>(n));
    at += n;
    if (out.size() > limit) return fail(Errc::limit, "larger than its limit");
  }
}

Channel::Channel(asio::any_io_executor executor, UniqueFd socket)
    : socket_(executor, socket.release()), queued_(executor) {
  queued_.expires_at(asio::steady_timer::time_point::max());
}

void Channel::close() {
  error_code ignored;  // nothing is lost by a close that fails
  socket_.close(ignored);
  queued_.cancel();
}

Channel::Sent Channel::send_now(const Packet& packet) {
  alignas(cmsghdr) std::array<char, control_bytes> control{};
  iovec io{const_cast<char*>(packet.text.data()), packet.text.size()};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  if (!packet.fds.empty()) {
    const std::size_t bytes = sizeof(int) * packet.fds.size();
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    for (std::size_t i = 0; i < packet.fds.size(); ++i) {
      const int fd = packet.fds[i].get();
      std::memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  const ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) return Sent::done;
  return errno == EAGAIN || errno == ENOBUFS || errno == EINTR ? Sent::full : Sent::gone;
}

Result<void> Channel::send(Frame frame) {
  if (!socket_.is_open()) return fail(Errc::closed, "the conversation is closed");
  if (frame.fds.size() >= max_fds_per_frame)
    return fail(Errc::limit, "too many descriptors for one message");
  Packet packet;
  packet.text = encode_packet(frame.type, frame.body);
  packet.fds = std::move(frame.fds);
  if (packet.text.size() > max_packet_bytes) {
    auto memfd = make_memfd("oceanid-" + frame.type, encode_large_body(frame.body));
    if (!memfd) return std::unexpected(std::move(memfd.error()));
    packet.text = encode_large_packet(frame.type);
    packet.fds.insert(packet.fds.begin(), std::move(*memfd));
  }
  if (queue_.empty()) {
    switch (send_now(packet)) {
      case Sent::done:
        return {};
      case Sent::gone:
        return fail(Errc::closed, "the other process is gone");
      case Sent::full:
        break;
    }
  }
  if (queue_.size() >= max_queued_frames)
    return fail(Errc::limit, "the other process does not read its messages");
  queue_.push_back(std::move(packet));
  queued_.cancel();
  return {};
}

awaitable<void> Channel::write_loop() {
  while (socket_.is_open()) {
    if (queue_.empty()) {
      auto [woken] = co_await queued_.async_wait(as_result);
      static_cast<void>(woken);
      if ((co_await asio::this_coro::cancellation_state).cancelled() !=
          asio::cancellation_type::none)
        co_return;
      continue;
    }
    auto [ec] = co_await socket_.async_wait(asio::posix::stream_descriptor::wait_write, as_result);
    if (ec) co_return;
    while (!queue_.empty()) {
      const Sent sent = send_now(queue_.front());
      if (sent == Sent::full) break;
      if (sent == Sent::gone) co_return;
      queue_.pop_front();
    }
  }
}

awaitable<Result<Frame>> Channel::receive() {
  for (;;) {
    // Waiting first, even when something is there: a peer that never stops talking gets its turn,
    // not the whole event loop.
    if (!socket_.is_open()) co_return fail(Errc::closed, "the conversation is closed");
    auto [ec] = co_await socket_.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
    if (ec) co_return fail(Errc::closed, ec.message());
    auto received = receive_now(socket_.native_handle());
    if (!received) co_return std::unexpected(std::move(received.error()));
    if (*received) co_return decode(std::move(**received));
  }
}

}  // namespace oceanid::ipc
