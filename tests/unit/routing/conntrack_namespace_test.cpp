// The watcher against the real connection tracking, in a network namespace of its own.

#include "gateway/base/runtime/unique_fd.hpp"
#include "routing/edge/conntrack_codec.hpp"
#include "routing/edge/conntrack_watcher.hpp"
#include "routing/edge/netlink_socket.hpp"
#include "tests/fakes/namespace_run.hpp"
#include "tests/fakes/run_task.hpp"

#include <chrono>
#include <map>
#include <set>

#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;

constexpr Mark carried{0x08000000, 0x09000000};

void isolated(const std::function<void()>& body) {
  const int status = run_in_namespace(body);
  if (status == namespace_refused) GTEST_SKIP() << why_no_namespace();
  EXPECT_EQ(status, 0);
}

// Connections to port 5432 are marked as ours, others are not.
void make_host() {
  shell("ip link set lo up; sysctl -qw net.netfilter.nf_conntrack_acct=1 || true");
  shell(
      "nft 'table inet t { chain out { type filter hook output priority mangle; tcp dport 5432 "
      "ct mark set ct mark | 0x08000000; ct state new accept; }; }'");
}

struct Recorder final : FlowObserver {
  void flow_begun(const Flow& flow) override {
    begun.insert(flow.original.source_port);
    flows[flow.original.source_port] = flow;
  }
  void flow_updated(const Flow& flow) override { updated.insert(flow.original.source_port); }
  void flow_ended(const Flow& flow) override { ended[flow.original.source_port] = flow; }
  void dump_begins() override { ++dumps_begun; }
  void dump_ended() override { ++dumps_ended; }
  std::set<std::uint16_t> begun, updated;
  std::map<std::uint16_t, Flow> flows, ended;
  int dumps_begun = 0;
  int dumps_ended = 0;
};

struct Pair {
  UniqueFd client, server;
  std::uint16_t port = 0;  // the client's
};

Pair connect_to(std::uint16_t port) {
  Pair out;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* address = reinterpret_cast<const sockaddr*>(&to);
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  EXPECT_EQ(::bind(listener.get(), address, sizeof to), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  out.client = UniqueFd(::socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(::connect(out.client.get(), address, sizeof to), 0);
  out.server = UniqueFd(::accept(listener.get(), nullptr, nullptr));
  sockaddr_in from{};
  socklen_t size = sizeof from;
  EXPECT_EQ(::getsockname(out.client.get(), reinterpret_cast<sockaddr*>(&from), &size), 0);
  out.port = ntohs(from.sin_port);
  return out;
}

// Runs the loop until `what` holds, 10 s at most.
void until(asio::io_context& io, const std::function<bool()>& what) {
  const auto end = std::chrono::steady_clock::now() + 10s;
  io.restart();
  while (!what() && std::chrono::steady_clock::now() < end)
    io.run_one_for(50ms);
  EXPECT_TRUE(what());
}

void stop(asio::io_context& io, ConntrackWatcher& watcher) {
  run_task(io, [](ConntrackWatcher& w) -> awaitable<bool> {
    co_await w.stop();
    co_return true;
  }(watcher));
}

TEST(ConntrackNamespace, TellsOfMarkedConnectionsFromBeforeAndFromNow) {
  isolated([] {
    make_host();
    asio::io_context io;
    const Pair before = connect_to(5432);
    Recorder seen;
    auto watcher = ConntrackWatcher::start(io.get_executor(), {.mark = carried}, {&seen});
    ASSERT_TRUE(watcher) << watcher.error().what;
    until(io, [&] { return seen.dumps_ended == 1; });
    EXPECT_THAT(seen.begun, testing::ElementsAre(before.port));
    EXPECT_EQ(seen.flows[before.port].tcp_state, TcpState::established);

    const Pair other = connect_to(5433);
    Pair now = connect_to(5432);
    until(io, [&] { return seen.updated.contains(now.port); });
    EXPECT_EQ(seen.begun, (std::set{before.port, now.port}));
    EXPECT_EQ(seen.updated, (std::set{now.port}))
        << "established, and none of the states on the way";

    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    Flow another = seen.flows[now.port];
    ++another.id;
    EXPECT_EQ(socket->request(encode_flow_delete(another)).error().os_error, ENOENT)
        << "an entry that has taken the tuples meanwhile stays";
    ASSERT_TRUE(socket->request(encode_flow_mark(seen.flows[now.port], {0x04000000, 0x04000000})));
    ASSERT_TRUE(socket->request(encode_flow_delete(seen.flows[now.port])));
    until(io, [&] { return seen.ended.contains(now.port); });
    EXPECT_EQ(seen.ended[now.port].mark, 0x0c000000U) << "set under its mask";
    EXPECT_EQ((*watcher)->counts().overruns, 0U);
    stop(io, **watcher);
  });
}

TEST(ConntrackNamespace, WhoJoinsLaterIsToldOfAllAndWhoLeftOfNothing) {
  isolated([] {
    make_host();
    asio::io_context io;
    Recorder first;
    Recorder second;
    auto watcher = ConntrackWatcher::start(io.get_executor(), {.mark = carried}, {&first});
    ASSERT_TRUE(watcher) << watcher.error().what;
    until(io, [&] { return first.dumps_ended == 1; });
    const Pair before = connect_to(5432);
    until(io, [&] { return first.begun.contains(before.port); });
    (*watcher)->join(second);
    until(io, [&] { return second.dumps_ended == 1; });
    EXPECT_THAT(second.begun, testing::ElementsAre(before.port));
    const Pair now = connect_to(5432);
    until(io, [&] { return second.begun.contains(now.port); });
    (*watcher)->leave(second);
    const Pair later = connect_to(5432);
    until(io, [&] { return first.begun.contains(later.port); });
    EXPECT_FALSE(second.begun.contains(later.port));
    EXPECT_EQ((*watcher)->counts().overruns, 0U);
    stop(io, **watcher);
  });
}

// A buffer for a few notices, a burst that does not fit: everything is told again.
TEST(ConntrackNamespace, ListsEverythingAgainWhenNoticesWereLost) {
  isolated([] {
    make_host();
    asio::io_context io;
    Recorder seen;
    auto watcher = ConntrackWatcher::start(io.get_executor(),
                                           {.mark = carried, .receive_buffer = 4096}, {&seen});
    ASSERT_TRUE(watcher) << watcher.error().what;
    until(io, [&] { return seen.dumps_ended == 1; });
    std::vector<Pair> open;
    std::set<std::uint16_t> ports;
    for (int i = 0; i < 60; ++i) {
      open.push_back(connect_to(5432));
      ports.insert(open.back().port);
    }
    until(io, [&] { return seen.dumps_ended == 2; });
    EXPECT_EQ(seen.begun, ports);
    EXPECT_GE((*watcher)->counts().overruns, 1U);
    stop(io, **watcher);
  });
}

}  // namespace
}  // namespace oceanid::routing
