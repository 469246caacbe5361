#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_socket.hpp"
#include "routing/edge/netlink_walk.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/time.h>

namespace oceanid::routing {
namespace {

constexpr std::size_t datagram_bytes = 32768;  // the largest part of a dump that the kernel makes
constexpr timeval patience{.tv_sec = 5,
                           .tv_usec = 0};  // it answers inside send; this is for a broken one
constexpr int dump_attempts = 10;
constexpr std::size_t usual_send_bytes = 100'000;  // half of what net.core.wmem_default gives
// Their answers lie in the socket's queue until the send is over: some 1 KiB each as the kernel
// counts, of 208 KiB (net.core.rmem_default).
constexpr std::size_t most_together = 64;
constexpr std::size_t spare_bytes = 4096;

void enable(mnl_socket* socket, int option) {
  // Older kernels lack some of these; they only save work or improve texts.
  int on = 1;
  mnl_socket_setsockopt(socket, option, &on, sizeof(on));
}

// Both NLMSG_ERROR and NLMSG_DONE begin with an errno (negative or 0).
int error_of(const nlmsghdr& message) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(int)) return 0;
  int value = 0;
  std::memcpy(&value, mnl_nlmsg_get_payload(&message), sizeof(value));
  return -value;
}

std::string kernel_sentence(const nlmsghdr& message) {
  // With NETLINK_CAP_ACK the failed request is cut to its header, so the attributes follow
  // nlmsgerr.
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0 || (message.nlmsg_flags & NLM_F_CAPPED) == 0)
    return {};
  return Attributes::of(message, sizeof(nlmsgerr)).text(NLMSGERR_ATTR_MSG);
}

}  // namespace

NetlinkSocket::NetlinkSocket(mnl_socket* socket)
    : socket_(socket), buffer_(datagram_bytes / sizeof(nlmsghdr)) {}

Result<NetlinkSocket> NetlinkSocket::open(int bus) {
  mnl_socket* raw = mnl_socket_open2(bus, SOCK_CLOEXEC);
  if (!raw) return fail_errno("opening a netlink socket");
  NetlinkSocket out(raw);
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0)
    return fail_errno("binding a netlink socket");
  enable(raw, NETLINK_GET_STRICT_CHK);
  enable(raw, NETLINK_EXT_ACK);
  enable(raw, NETLINK_CAP_ACK);
  if (setsockopt(mnl_socket_get_fd(raw), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
    return fail_errno("setting a netlink socket's timeout");
  return out;
}

Result<void> NetlinkSocket::request(Message message, const Visitor& visit) {
  message.header()->nlmsg_flags |= NLM_F_ACK;
  auto progress = exchange(message, visit);
  if (!progress) return std::unexpected(std::move(progress.error()));
  return {};
}

Result<void> NetlinkSocket::dump(Message message, const std::function<void()>& start,
                                 const Visitor& visit) {
  for (int attempt = 0; attempt < dump_attempts; ++attempt) {
    start();
    auto progress = exchange(message, visit);
    if (!progress) return std::unexpected(std::move(progress.error()));
    if (*progress == Progress::done) return {};
  }
  return fail(Errc::io, "the kernel's tables change faster than they can be read");
}

Result<NetlinkSocket::Progress> NetlinkSocket::exchange(Message& message, const Visitor& visit) {
  if (!message.complete()) return fail(Errc::limit, "a netlink request is too long");
  nlmsghdr* head = message.header();
  head->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), head, head->nlmsg_len) < 0)
    return fail_errno("sending to netlink");
  bool interrupted = false;
  while (true) {
    const auto received =
        mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size() * sizeof(nlmsghdr));
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return fail_errno("receiving from netlink");
    int left = static_cast<int>(received);
    const nlmsghdr* answer = buffer_.data();
    for (; message_fits(answer, left); answer = mnl_nlmsg_next(answer, &left)) {
      if (answer->nlmsg_seq != sequence_) continue;  // late, of a request that timed out
      interrupted |= (answer->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      auto progress = take(*answer, visit);
      if (!progress) return progress;
      if (*progress == Progress::done) return interrupted ? Progress::interrupted : Progress::done;
    }
  }
}

std::vector<Result<void>> NetlinkSocket::requests(std::span<Message> messages) {
  std::vector<Result<void>> out(messages.size());
  for (std::size_t from = 0; from < messages.size(); from += most_together) {
    const std::size_t count = std::min(most_together, messages.size() - from);
    const auto answers = std::span(out).subspan(from, count);
    std::vector<std::byte> bytes;
    const std::uint32_t first = sequence_ + 1;
    bool complete = true;
    for (Message& message : messages.subspan(from, count)) {
      nlmsghdr* head = message.header();
      head->nlmsg_flags |= NLM_F_ACK;
      head->nlmsg_seq = ++sequence_;
      complete = complete && message.complete();
      const auto raw = std::as_bytes(std::span(head, 1)).data();
      bytes.insert(bytes.end(), raw, raw + head->nlmsg_len);
      bytes.resize(NLMSG_ALIGN(bytes.size()));
    }
    if (!complete)
      std::ranges::fill(answers, fail(Errc::limit, "a netlink request is too long"));
    else if (mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size()) < 0)
      std::ranges::fill(answers, fail_errno("sending to netlink"));
    else
      collect(first, answers);
  }
  return out;
}

void NetlinkSocket::collect(std::uint32_t first, std::span<Result<void>> answers) {
  std::vector<bool> known(answers.size());
  for (std::size_t left_over = answers.size(); left_over > 0;) {
    const auto received =
        mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size() * sizeof(nlmsghdr));
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) {
      const Result<void> failed = fail_errno("receiving from netlink");
      for (std::size_t i = 0; i < answers.size(); ++i)
        if (!known[i]) answers[i] = failed;
      return;
    }
    int left = static_cast<int>(received);
    const nlmsghdr* answer = buffer_.data();
    for (; message_fits(answer, left); answer = mnl_nlmsg_next(answer, &left)) {
      const std::size_t place = answer->nlmsg_seq - first;  // late ones wrap and are far beyond
      if (place >= answers.size() || known[place] || answer->nlmsg_type != NLMSG_ERROR) continue;
      if (auto done = take(*answer, {}); !done)
        answers[place] = std::unexpected(std::move(done.error()));
      known[place] = true;
      --left_over;
    }
  }
}

// The kernel takes a batch as one datagram, which the send buffer must have room for; its double is
// what the kernel notes (socket(7)), half of it goes to bookkeeping.
Result<void> NetlinkSocket::batch(std::span<const std::uint8_t> bytes, std::uint32_t first,
                                  std::uint32_t last) {
  sequence_ = last + 1;
  const int room = static_cast<int>(bytes.size() + spare_bytes);
  if (bytes.size() + spare_bytes > usual_send_bytes)
    setsockopt(mnl_socket_get_fd(socket_.get()), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
  if (mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size()) < 0)
    return fail_errno("sending to netlink");
  Result<void> done = {};
  // One answer for each refused message and one for the last: the first refusal is the reason. A
  // refusal of the whole batch carries the number of its beginning.
  while (true) {
    const auto received =
        mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size() * sizeof(nlmsghdr));
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return done ? fail_errno("receiving from netlink") : done;
    int left = static_cast<int>(received);
    const nlmsghdr* answer = buffer_.data();
    for (; message_fits(answer, left); answer = mnl_nlmsg_next(answer, &left)) {
      const std::uint32_t number = answer->nlmsg_seq;
      if (number < first || number > last + 1) continue;
      auto progress = take(*answer, {});
      if (!progress && done) done = std::unexpected(std::move(progress.error()));
      const bool whole = number == first;
      if (number == last || (whole && !done)) return done;
    }
  }
}

Result<NetlinkSocket::Progress> NetlinkSocket::take(const nlmsghdr& message,
                                                    const Visitor& visit) const {
  if (message.nlmsg_type == NLMSG_ERROR || message.nlmsg_type == NLMSG_DONE) {
    const int error = error_of(message);
    if (error == 0) return Progress::done;
    const std::string sentence = kernel_sentence(message);
    return fail_errno(sentence.empty() ? "the kernel refused" : sentence, error);
  }
  if (message.nlmsg_type >= NLMSG_MIN_TYPE && visit) visit(message);
  return Progress::more;
}

}  // namespace oceanid::routing
