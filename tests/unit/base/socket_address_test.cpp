#include "gateway/base/runtime/socket_address.hpp"

#include <array>
#include <cstring>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace oceanid {
namespace {

TEST(SocketAddressConversion, IsWhatTheKernelReads) {
  const NativeAddress four = to_native(SocketAddress::parse("192.0.2.7:443").value());
  ASSERT_EQ(four.length, sizeof(sockaddr_in));
  sockaddr_in v4{};
  std::memcpy(&v4, four.get(), sizeof v4);
  EXPECT_EQ(v4.sin_family, AF_INET);
  EXPECT_EQ(v4.sin_port, htons(443));
  EXPECT_EQ(v4.sin_addr.s_addr, htonl(0xc0000207));

  const NativeAddress six = to_native(SocketAddress::parse("[2001:db8::1]:53").value());
  ASSERT_EQ(six.length, sizeof(sockaddr_in6));
  sockaddr_in6 v6{};
  std::memcpy(&v6, six.get(), sizeof v6);
  EXPECT_EQ(v6.sin6_family, AF_INET6);
  EXPECT_EQ(v6.sin6_port, htons(53));
  EXPECT_EQ(v6.sin6_scope_id, 0U);
  in6_addr expected{};
  ASSERT_EQ(::inet_pton(AF_INET6, "2001:db8::1", &expected), 1);
  EXPECT_TRUE(IN6_ARE_ADDR_EQUAL(&v6.sin6_addr, &expected));
}

TEST(SocketAddressConversion, ComesBackUnchanged) {
  for (const auto* text : {"0.0.0.0", "203.0.113.255", "::", "2001:db8::ff", "::ffff:192.0.2.1"}) {
    for (const std::uint16_t port : std::to_array<std::uint16_t>({0, 1, 8080, 65535})) {
      const SocketAddress address{IpAddress::parse(text).value(), port};
      EXPECT_EQ(from_native(to_native(address)), address) << address.to_string();
    }
  }
}

TEST(SocketAddressConversion, KnowsOnlyInternetAddresses) {
  NativeAddress native;
  EXPECT_EQ(native.length, sizeof(sockaddr_storage)) << "room for any address";
  EXPECT_EQ(from_native(native), std::nullopt);
  native.storage.ss_family = AF_UNIX;
  EXPECT_EQ(from_native(native), std::nullopt);
}

}  // namespace
}  // namespace oceanid
