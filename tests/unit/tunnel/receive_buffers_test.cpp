// Larger receive buffers for another process's sockets; here the process is this one.

#include "tunnel/edge/receive_buffers.hpp"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

constexpr int wanted = 8 << 20;  // above any net.core.rmem_max that is in use

int buffer_of(const UniqueFd& socket) {
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &value, &size), 0);
  return value / 2;
}

UniqueFd open_socket(int family, int type) {
  UniqueFd socket(::socket(family, type | SOCK_CLOEXEC, 0));
  EXPECT_TRUE(socket);
  return socket;
}

TEST(ReceiveBuffers, OfUdpSocketsAloneAreEnlargedOnce) {
  const UniqueFd udp = open_socket(AF_INET, SOCK_DGRAM);
  const UniqueFd udp6 = open_socket(AF_INET6, SOCK_DGRAM);
  const UniqueFd tcp = open_socket(AF_INET, SOCK_STREAM);
  const int before = buffer_of(tcp);
  std::set<std::uint64_t> known;
  const auto widened = widen_receive_buffers(identify(::getpid()).value(), wanted, known);
  if (::geteuid() != 0) {
    ASSERT_FALSE(widened);
    EXPECT_EQ(widened.error().code, Errc::permission);
    return;
  }
  ASSERT_TRUE(widened) << widened.error().what;
  EXPECT_EQ(buffer_of(udp), wanted);
  EXPECT_EQ(buffer_of(udp6), wanted);
  EXPECT_EQ(buffer_of(tcp), before);

  // What was seen is left alone, what is new is not.
  const int small = 1 << 16;
  ASSERT_EQ(::setsockopt(udp.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  const UniqueFd later = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_TRUE(widen_receive_buffers(identify(::getpid()).value(), wanted, known));
  EXPECT_EQ(buffer_of(udp), small);
  EXPECT_EQ(buffer_of(later), wanted);
}

TEST(ReceiveBuffers, OfAProcessThatIsGoneAreNotLookedFor) {
  std::set<std::uint64_t> known;
  auto other = identify(::getpid()).value();
  ++other.start_time;
  const auto widened = widen_receive_buffers(other, wanted, known);
  ASSERT_FALSE(widened);
  EXPECT_EQ(widened.error().code, Errc::not_found);
}

}  // namespace
}  // namespace oceanid::tunnel
