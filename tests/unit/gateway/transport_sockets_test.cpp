#include "gateway/process/transport_sockets.hpp"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

// With the kernel's 208 KiB the sender's buffer on loopback has held a relay to a tenth of its
// speed.
TEST(TransportSockets, AShimHoldsSevenMebibytesInEitherDirection) {
  if (::geteuid() != 0) GTEST_SKIP() << "above net.core.rmem_max for root only";
  const auto socket = loopback_udp();
  ASSERT_TRUE(socket) << socket.error().what;
  for (const int option : {SO_RCVBUF, SO_SNDBUF}) {
    int value = 0;
    socklen_t size = sizeof value;
    ASSERT_EQ(::getsockopt(socket->get(), SOL_SOCKET, option, &value, &size), 0);
    EXPECT_GE(value / 2, 7 << 20) << option;  // the kernel says twice what was asked for
  }
}

}  // namespace
}  // namespace oceanid::process
