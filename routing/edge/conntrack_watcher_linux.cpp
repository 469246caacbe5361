#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "routing/edge/conntrack_codec.hpp"
#include "routing/edge/conntrack_watcher.hpp"
#include "routing/edge/netlink_walk.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <libmnl/libmnl.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_compat.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;

// A notice takes some 250 bytes; with labels and a security context not half of this.
constexpr std::size_t notice_bytes = 2048;
constexpr std::size_t notices_at_once = 32;
constexpr int rounds_per_turn = 4;         // 128 notices, some 200 us: then others have their turn
constexpr std::size_t dump_bytes = 32768;  // the largest part of a dump that the kernel makes
constexpr auto dump_pause = 1s;            // between two, should notices be lost without end

Result<UniqueFd> open_socket() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!socket) return fail_errno("opening a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno("binding a netlink socket");
  return socket;
}

Result<UniqueFd> open_notices(const ConntrackWatcher::Options& options) {
  auto socket = open_socket();
  if (!socket) return socket;
  const int size = options.receive_buffer;
  // FORCE needs CAP_NET_ADMIN in the first user namespace; elsewhere the host's limit holds.
  if (::setsockopt(socket->get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  // Before the groups are joined, so that nothing comes in unfiltered.
  std::vector<sock_filter> filter = flow_filter(options.mark);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::setsockopt(socket->get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
    return fail_errno("filtering the notices of connection tracking");
  const std::array wanted{std::pair(NFNLGRP_CONNTRACK_NEW, options.begins),
                          std::pair(NFNLGRP_CONNTRACK_UPDATE, options.updates),
                          std::pair(NFNLGRP_CONNTRACK_DESTROY, true)};
  for (const auto& [group, joined] : wanted) {
    const int number = group;
    if (joined && ::setsockopt(socket->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &number,
                               sizeof number) < 0)
      return fail_errno("listening to connection tracking (is nf_conntrack_netlink there?)");
  }
  return socket;
}

}  // namespace

struct ConntrackWatcher::Socket {
  Socket(const asio::any_io_executor& executor, UniqueFd for_notices, UniqueFd for_dumps)
      : notices(executor, for_notices.release()),
        dumps(executor, for_dumps.release()),
        dump_buffer(dump_bytes / sizeof(nlmsghdr)) {
    for (std::size_t i = 0; i < notices_at_once; ++i) {
      parts[i] = {buffers[i].data(), notice_bytes};
      heads[i].msg_hdr.msg_iov = &parts[i];
      heads[i].msg_hdr.msg_iovlen = 1;
    }
  }

  using Buffer = std::array<std::byte, notice_bytes>;
  asio::posix::stream_descriptor notices;
  asio::posix::stream_descriptor dumps;
  alignas(nlmsghdr) std::array<Buffer, notices_at_once> buffers{};
  std::array<iovec, notices_at_once> parts{};
  std::array<mmsghdr, notices_at_once> heads{};
  std::vector<nlmsghdr> dump_buffer;  // aligned space for one datagram
  std::uint32_t sequence = 0;
};

ConntrackWatcher::ConntrackWatcher(const asio::any_io_executor& executor, Options options,
                                   std::unique_ptr<Socket> socket,
                                   std::vector<FlowObserver*> observers)
    : options_(options),
      socket_(std::move(socket)),
      observers_(std::move(observers)),
      dump_wake_(executor),
      tasks_(executor) {
  dump_wake_.expires_at(asio::steady_timer::time_point::max());
}

ConntrackWatcher::~ConntrackWatcher() = default;

Result<std::unique_ptr<ConntrackWatcher>> ConntrackWatcher::start(
    const asio::any_io_executor& executor, Options options, std::vector<FlowObserver*> observers) {
  if ((options.mark.value & options.mark.mask) == 0)
    return fail(Errc::invalid_argument, "connections without a mark cannot be told apart");
  auto notices = open_notices(options);
  if (!notices) return std::unexpected(std::move(notices.error()));
  auto dumps = open_socket();
  if (!dumps) return std::unexpected(std::move(dumps.error()));
  auto socket = std::make_unique<Socket>(executor, std::move(*notices), std::move(*dumps));
  std::unique_ptr<ConntrackWatcher> out(
      new ConntrackWatcher(executor, options, std::move(socket), std::move(observers)));
  out->tasks_.spawn("conntrack notices", out->watch());
  out->tasks_.spawn("conntrack dumps", out->dump_when_due());
  return out;
}

void ConntrackWatcher::join(FlowObserver& observer) {
  observers_.push_back(&observer);
  dump_due_ = true;
  dump_wake_.cancel();
}

void ConntrackWatcher::leave(FlowObserver& observer) {
  std::erase(observers_, &observer);
}

awaitable<void> ConntrackWatcher::stop() {
  stopping_ = true;
  co_await tasks_.stop();
}

awaitable<void> ConntrackWatcher::watch() {
  while (true) {
    auto [ec] =
        co_await socket_->notices.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
    if (ec) co_return;
    // Through the loop's queue: whoever else is ready comes first.
    while (drain())
      co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  }
}

// True: there may be more. Measured (Linux 6.18, one virtual core at 10,000 notices a second): 1.6
// us each, reading and the flow table together, so 1.6 % of a core; a TCP connection causes four.
bool ConntrackWatcher::drain() {
  const int fd = socket_->notices.native_handle();
  for (int round = 0; round < rounds_per_turn; ++round) {
    const int count = ::recvmmsg(fd, socket_->heads.data(), notices_at_once, MSG_DONTWAIT, nullptr);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == ENOBUFS) {
      lost_notices();
      continue;
    }
    if (count <= 0) return false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      if ((socket_->heads[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
        lost_notices();
        continue;
      }
      int left = static_cast<int>(socket_->heads[i].msg_len);
      const auto* message = reinterpret_cast<const nlmsghdr*>(socket_->buffers[i].data());
      for (; message_fits(message, left); message = mnl_nlmsg_next(message, &left))
        take(*message, false);
    }
    if (static_cast<std::size_t>(count) < notices_at_once) return false;
  }
  return true;
}

void ConntrackWatcher::lost_notices() {
  ++counts_.overruns;
  dump_due_ = true;
  dump_wake_.cancel();
}

void ConntrackWatcher::take(const nlmsghdr& message, bool dumped) {
  const auto event = decode_flow(message);
  if (!event) return;
  const Flow& flow = event->flow;
  // Dumps of old kernels know no mask, and an update may have changed the mark.
  if (((flow.mark ^ options_.mark.value) & options_.mark.mask) != 0) return;
  if (dumped && ended_.contains(identity(flow))) return;
  if (!dumped) ++counts_.events;
  if (event->kind == FlowEventKind::ended && dumping_) ended_.insert(identity(flow));
  for (FlowObserver* observer : observers_) {
    if (event->kind == FlowEventKind::begun)
      observer->flow_begun(flow);
    else if (event->kind == FlowEventKind::updated)
      observer->flow_updated(flow);
    else
      observer->flow_ended(flow);
  }
}

awaitable<void> ConntrackWatcher::dump_when_due() {
  while (true) {
    if (!dump_due_) {
      dump_wake_.expires_at(asio::steady_timer::time_point::max());
      co_await dump_wake_.async_wait(as_result);
      if (stopping_) co_return;
      continue;
    }
    dump_due_ = false;
    dumping_ = true;
    for (FlowObserver* observer : observers_)
      observer->dump_begins();
    auto done = co_await dump();
    dumping_ = false;
    ended_.clear();
    if (stopping_) co_return;
    if (done) {
      ++counts_.dumps;
      for (FlowObserver* observer : observers_)
        observer->dump_ended();
    } else {
      dump_due_ = true;
      log::warn("routing", "the connections could not be listed; trying again",
                {{"error", done.error().what}});
    }
    if (const auto stopped = co_await sleep_for(dump_pause)) co_return;
  }
}

// Part by part, each read when the kernel has it: some 150 entries and 300 us. A kernel that finds
// few matches walks its whole table for one part, 20 to 30 ms for 262,144 entries; that happens at
// the start and after an overrun only.
awaitable<Result<void>> ConntrackWatcher::dump() {
  Message request = encode_flow_dump(options_.mark);
  request.header()->nlmsg_seq = ++socket_->sequence;
  const int fd = socket_->dumps.native_handle();
  if (::send(fd, request.header(), request.header()->nlmsg_len, 0) < 0)
    co_return fail_errno("asking for the connections");
  while (true) {
    auto [ec] =
        co_await socket_->dumps.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
    if (ec) co_return fail(Errc::closed, "stopped");
    const auto received = ::recv(fd, socket_->dump_buffer.data(), dump_bytes, MSG_DONTWAIT);
    if (received < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (received < 0) co_return fail_errno("reading the connections");
    auto done = take_dump_part(*socket_->dump_buffer.data(), static_cast<std::size_t>(received));
    if (!done) co_return std::unexpected(std::move(done.error()));
    if (*done) co_return Result<void>();
  }
}

// True: that was the last part.
Result<bool> ConntrackWatcher::take_dump_part(const nlmsghdr& first, std::size_t bytes) {
  int left = static_cast<int>(bytes);
  const nlmsghdr* message = &first;
  for (; message_fits(message, left); message = mnl_nlmsg_next(message, &left)) {
    if (message->nlmsg_seq != socket_->sequence) continue;  // of one that was given up
    if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
      int error = 0;
      if (mnl_nlmsg_get_payload_len(message) >= sizeof error)
        std::memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
      if (error != 0) return fail_errno("listing the connections", -error);
      return true;
    }
    take(*message, true);
  }
  return false;
}

}  // namespace oceanid::routing
