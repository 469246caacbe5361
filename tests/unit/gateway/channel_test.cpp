#include "gateway/ipc/channel.hpp"

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/ipc/packet_codec.hpp"
#include "gateway/ipc/snapshot.hpp"

#include <array>
#include <cstring>

#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>

namespace oceanid::ipc {
namespace {

struct Pair {
  asio::io_context io{1};
  std::unique_ptr<Channel> left;
  std::unique_ptr<Channel> right;
  UniqueFd raw;  // a duplicate of the left end, to write what Channel would not
  TaskGroup tasks{io.get_executor()};

  Pair() {
    auto ends = make_socketpair().value();
    raw = UniqueFd(::fcntl(ends.first.get(), F_DUPFD_CLOEXEC, 0));
    left = std::make_unique<Channel>(io.get_executor(), std::move(ends.first));
    right = std::make_unique<Channel>(io.get_executor(), std::move(ends.second));
  }
  Result<Frame> receive() {
    std::optional<Result<Frame>> out;
    tasks.spawn("receive", keep(*right, out));
    io.restart();
    io.run();
    return out ? std::move(*out) : fail(Errc::timeout, "nothing arrived");
  }
  static awaitable<void> keep(Channel& channel, std::optional<Result<Frame>>& out) {
    out.emplace(co_await channel.receive());
  }
};

Frame frame_of(std::string type, boost::json::value body = nullptr) {
  Frame frame;
  frame.type = std::move(type);
  frame.body = std::move(body);
  return frame;
}

TEST(Channel, CarriesTypeBodyAndDescriptors) {
  Pair pair;
  Frame frame = frame_of("hello", {{"a", 1}});
  frame.fds.push_back(make_memfd("test", "inside").value());
  ASSERT_TRUE(pair.left->send(std::move(frame)));
  auto received = pair.receive();
  ASSERT_TRUE(received) << received.error().what;
  EXPECT_EQ(received->type, "hello");
  EXPECT_EQ(received->body, (boost::json::value{{"a", 1}}));
  ASSERT_EQ(received->fds.size(), 1U);
  EXPECT_EQ(read_fd(received->fds[0].get(), 100).value(), "inside");
}

TEST(Channel, MovesALargeBodyThroughAMemfd) {
  Pair pair;
  const std::string large(1'000'000, 'x');
  Frame frame = frame_of("large", boost::json::value(large));
  frame.fds.push_back(make_memfd("test", "beside").value());
  ASSERT_TRUE(pair.left->send(std::move(frame)));
  auto received = pair.receive();
  ASSERT_TRUE(received) << received.error().what;
  EXPECT_EQ(received->body.get_string(), large);
  ASSERT_EQ(received->fds.size(), 1U);
  EXPECT_EQ(read_fd(received->fds[0].get(), 100).value(), "beside");
}

TEST(Channel, SaysClosedWhenTheOtherSideIsGone) {
  Pair pair;
  pair.left.reset();
  pair.raw.reset();
  auto received = pair.receive();
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Errc::closed);
}

TEST(Channel, RefusesWhatIsNoFrame) {
  for (const std::string bad :
       {"", "{", "[]", "{\"type\":7}", "{\"body\":{}}", "{\"type\":\"x\",\"memfd\":true}"}) {
    Pair pair;
    if (bad.empty()) continue;  // an empty datagram reads as the end, which is tested above
    ASSERT_EQ(::send(pair.raw.get(), bad.data(), bad.size(), 0), static_cast<ssize_t>(bad.size()));
    auto received = pair.receive();
    ASSERT_FALSE(received) << bad;
    EXPECT_EQ(received.error().code, Errc::protocol) << bad;
  }
}

TEST(Channel, ReadsALargeBodyOnlyFromSealedMemory) {
  Pair pair;
  const std::string text = R"({"type":"x","memfd":true})";
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  iovec io{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = file.get();
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  ASSERT_GT(::sendmsg(pair.raw.get(), &message, 0), 0);
  const auto received = pair.receive();
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().what, "a large message whose body is not a sealed memfd");
}

struct Progress {
  bool done = false;
  int turns = 0;
};

awaitable<void> receive_all(Channel& channel, int frames, Progress& progress) {
  for (int i = 0; i < frames; ++i)
    EXPECT_TRUE(co_await channel.receive());
  progress.done = true;
}

awaitable<void> count_turns(Progress& progress) {
  while (!progress.done) {
    ++progress.turns;
    co_await asio::post(asio::use_awaitable);
  }
}

TEST(Channel, LeavesTheLoopToOthersWhileAPeerNeverStopsTalking) {
  Pair pair;
  constexpr int frames = 100;
  for (int i = 0; i < frames; ++i)
    ASSERT_TRUE(pair.left->send(frame_of("chatter")));
  Progress progress;
  pair.tasks.spawn("receive", receive_all(*pair.right, frames, progress));
  pair.tasks.spawn("another", count_turns(progress));
  pair.io.run();
  EXPECT_TRUE(progress.done);
  EXPECT_GE(progress.turns, frames / 2);
}

TEST(Channel, TellsASenderThatThePeerDoesNotRead) {
  Pair pair;
  Result<void> sent = {};
  std::size_t count = 0;
  while (sent && count < 100'000) {
    sent = pair.left->send(frame_of("flood", boost::json::value(std::string(1000, 'x'))));
    ++count;
  }
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::limit);
  EXPECT_GT(count, max_queued_frames);
}

// Infinity, once taken over, would make every document about it unreadable.
TEST(Packets, WithANumberBeyondMeasureAreRefused) {
  EXPECT_TRUE(decode_packet(R"({"type":"probes","body":{"results":[{"seconds":1e300}]}})"));
  EXPECT_FALSE(decode_packet(R"({"type":"probes","body":{"results":[{"seconds":1e350}]}})"));
  EXPECT_FALSE(decode_packet(R"({"type":"probes","body":[-1e350]})"));
  EXPECT_FALSE(decode_large_body("[1, {\"a\": 1e350}]"));
}

TEST(Messages, SurviveTheirJsonForm) {
  GatewaySnapshot snapshot;
  snapshot.node = "styx";
  ExitView view;
  view.name = "tethys";
  view.kind = "tunnel";
  view.addresses = {IpAddress::parse("203.0.113.10").value()};
  view.rtt_seconds = 0.0125;
  snapshot.exits.push_back(view);
  const auto back = decode<GatewaySnapshot>(boost::json::value_from(snapshot), "snapshot");
  ASSERT_TRUE(back);
  EXPECT_EQ(boost::json::value_from(*back), boost::json::value_from(snapshot));
}

TEST(Messages, FromAWorkerAreValidated) {
  const boost::json::value bad = {{"name", "x.example"}, {"addresses", {"not an address"}}};
  EXPECT_FALSE(decode<Resolved>(bad, "resolved"));
  EXPECT_FALSE(decode<Resolved>(boost::json::value{{"name", 7}}, "resolved"));
  EXPECT_FALSE(decode<Counters>(boost::json::value{{"tunnels_open", -1}}, "counters"));
}

}  // namespace
}  // namespace oceanid::ipc
