#include "proxy/edge/dialer.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <cerrno>

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/socket.h>

namespace oceanid::proxy::test {
namespace {

SocketAddress at(const std::string& text) {
  return SocketAddress::parse(text).value();
}

// A listener on ADDRESS:port, that port being free there.
UniqueFd listen_at(const std::string& address, std::uint16_t port, int backlog) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const NativeAddress raw = to_native({IpAddress::parse(address).value(), port});
  if (::bind(fd.get(), raw.get(), raw.length) != 0 || ::listen(fd.get(), backlog) != 0)
    ADD_FAILURE() << "listen on " << address << ": " << errno;
  return fd;
}

// Returns the limit before.
rlimit limit_files(rlim_t most) {
  rlimit before{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit now{.rlim_cur = most, .rlim_max = before.rlim_max};
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
  return before;
}

using DialResult = std::expected<Dialed, DialFailure>;

awaitable<void> dial_into(asio::io_context& io, std::vector<SocketAddress> addresses,
                          DialOptions options, std::optional<DialResult>& out) {
  out.emplace(co_await dial(io, std::move(addresses), std::move(options)));
}

DialResult run_dial(asio::io_context& io, std::vector<SocketAddress> addresses,
                    std::chrono::milliseconds attempt_delay, std::chrono::milliseconds patience,
                    BadAddresses* memory = nullptr) {
  std::optional<DialResult> out;
  DialOptions options;
  options.memory = memory;
  options.attempt_delay = attempt_delay;
  options.deadline = SteadyClock::now() + patience;
  asio::co_spawn(io, dial_into(io, std::move(addresses), std::move(options), out),
                 [](const std::exception_ptr&) {});
  io.run();
  io.restart();
  return std::move(out.value());
}

TEST(EdgeDialer, FamiliesTakeTurnsIpv6First) {
  const std::vector<SocketAddress> mixed = {at("192.0.2.1:1"), at("192.0.2.2:1"), at("192.0.2.3:1"),
                                            at("[2001:db8::1]:1"), at("[2001:db8::2]:1")};
  const std::vector<SocketAddress> expected = {at("[2001:db8::1]:1"), at("192.0.2.1:1"),
                                               at("[2001:db8::2]:1"), at("192.0.2.2:1"),
                                               at("192.0.2.3:1")};
  EXPECT_EQ(interleaved(mixed), expected);
}

// Two silent addresses before the one that answers: each costs one attempt delay, no more.
TEST(EdgeDialer, ASilentAddressCostsOneAttemptDelay) {
  asio::io_context io{1};
  Target good;
  const UniqueFd deaf1 = listen_at("127.0.0.8", good.port(), 0);
  const UniqueFd deaf2 = listen_at("127.0.0.9", good.port(), 0);
  std::vector<UniqueFd> fill;  // a listen queue of 0 holds one connection; further SYNs are dropped
  for (const auto* address : {"127.0.0.8", "127.0.0.9"}) {
    auto fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const NativeAddress raw = to_native({IpAddress::parse(address).value(), good.port()});
    ASSERT_EQ(::connect(fd.get(), raw.get(), raw.length), 0);
    fill.push_back(std::move(fd));
  }
  const std::string port = std::to_string(good.port());
  const auto start = SteadyClock::now();
  const auto result = run_dial(
      io, {at("127.0.0.8:" + port), at("127.0.0.9:" + port), at("127.0.0.1:" + port)}, 100ms, 5s);
  const auto took = SteadyClock::now() - start;
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->address.to_string(), "127.0.0.1:" + port);
  EXPECT_GE(took, 200ms);
  EXPECT_LT(took, 1500ms);
}

// A dead first address: the first connection takes one attempt delay more and stays below 400 ms,
// the next one goes to the living address at once.
TEST(EdgeDialer, ADeadFirstAddressCostsOneDelayOnceAndIsRememberedThen) {
  asio::io_context io{1};
  Target good;
  const UniqueFd deaf = listen_at("127.0.0.8", good.port(), 0);
  const UniqueFd filler(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const NativeAddress raw = to_native({IpAddress::parse("127.0.0.8").value(), good.port()});
  ASSERT_EQ(::connect(filler.get(), raw.get(), raw.length), 0);
  const std::string port = std::to_string(good.port());
  BadAddresses memory;
  const auto dial_once = [&] {
    const auto start = SteadyClock::now();
    const auto result =
        run_dial(io, {at("127.0.0.8:" + port), at("127.0.0.1:" + port)}, 250ms, 5s, &memory);
    EXPECT_TRUE(result.has_value());
    return SteadyClock::now() - start;
  };
  const auto first = dial_once();
  EXPECT_GE(first, 250ms);
  EXPECT_LT(first, 400ms);
  EXPECT_TRUE(memory.is_bad(at("127.0.0.8:" + port), SteadyClock::now()));
  EXPECT_LT(dial_once(), 200ms);
}

// Fifty addresses of which only the last one lives: it is reached, and never are more than eight
// attempts open.
TEST(EdgeDialer, ManySilentAddressesAreBoundedAndDoNotHideTheLast) {
  asio::io_context io{1};
  Target good;
  std::vector<UniqueFd> held;
  std::vector<SocketAddress> addresses;
  for (int i = 10; i < 59; ++i) {
    const SocketAddress address = {IpAddress::parse("127.0.0." + std::to_string(i)).value(),
                                   good.port()};
    held.push_back(listen_at(address.address.to_string(), good.port(), 0));
    held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const NativeAddress raw = to_native(address);
    ASSERT_EQ(::connect(held.back().get(), raw.get(), raw.length), 0);
    addresses.push_back(address);
  }
  addresses.push_back({IpAddress::parse("127.0.0.1").value(), good.port()});
  const UniqueFd lowest(::dup(0));
  // The loop's own descriptors, the eight attempts and one that is being opened.
  const rlimit before = limit_files(static_cast<rlim_t>(lowest.get()) + 16);
  const auto result = run_dial(io, addresses, 20ms, 10s);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(result.has_value()) << result.error().detail;
  EXPECT_EQ(result->address, addresses.back());
}

TEST(EdgeDialer, ARefusalMovesOnAtOnceAndLeavesNoSocketBehind) {
  asio::io_context io{1};
  Target good;
  const std::string port = std::to_string(good.port());
  // The first one opens the loop's own descriptors.
  ASSERT_TRUE(run_dial(io, {at("127.0.0.1:" + port)}, 10s, 20s).has_value());
  const UniqueFd before(::dup(0));
  const auto start = SteadyClock::now();
  {
    const auto result = run_dial(
        io, {at("127.0.0.8:" + port), at("127.0.0.9:" + port), at("127.0.0.1:" + port)}, 10s, 20s);
    ASSERT_TRUE(result.has_value());
    EXPECT_LT(SteadyClock::now() - start, 5s);
  }
  const UniqueFd after(::dup(0));
  EXPECT_EQ(after.get(), before.get() + 1);  // the lowest free number: all others are closed
}

TEST(EdgeDialer, TheMostTellingFailureIsReported) {
  asio::io_context io{1};
  // TCP cannot connect to a multicast address: that fails before the second one refuses.
  const std::string refusing = "127.0.0.1:" + std::to_string(unused_port());
  const auto result = run_dial(io, {at("[ff00::1]:9"), at(refusing)}, 50ms, 2s);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().reason, Reason::connection_refused);
  EXPECT_EQ(result.error().address->to_string(), refusing);
}

TEST(EdgeDialer, ErrnosHaveTheirReasons) {
  const std::pair<int, Reason> rows[] = {
      {ECONNREFUSED, Reason::connection_refused},
      {ECONNRESET, Reason::connection_reset},
      {ETIMEDOUT, Reason::connection_timeout},
      {ENETUNREACH, Reason::destination_unreachable},
      {EHOSTUNREACH, Reason::destination_unreachable},
      {EADDRNOTAVAIL, Reason::source_ports_exhausted},
      {EMFILE, Reason::overloaded},
  };
  for (const auto& [error, reason] : rows)
    EXPECT_EQ(reason_of_errno(error), reason) << error;
}

}  // namespace
}  // namespace oceanid::proxy::test
