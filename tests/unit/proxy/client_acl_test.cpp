#include "proxy/core/client_acl.hpp"

#include "proxy/core/settings.hpp"

#include <string_view>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

TEST(ClientAcl, UnwrapsOnlyMappedAddresses) {
  EXPECT_EQ(unmapped(ip("::ffff:10.1.2.3")), ip("10.1.2.3"));
  EXPECT_EQ(unmapped(ip("10.1.2.3")), ip("10.1.2.3"));
  for (const char* other :
       {"::1", "::10.1.2.3", "::fffe:a01:203", "::ff:a01:203", "::ff00:a01:203", "::1:ffff:a01:203",
        "64:ff9b::10.1.2.3", "::ffff:0:10.1.2.3", "100::ffff:10.1.2.3"})
    EXPECT_EQ(unmapped(ip(other)), ip(other)) << other;
}

TEST(ClientAcl, DefaultClientsAreThePrivateRanges) {
  const auto clients = default_clients();
  for (const char* inside : {"127.0.0.1", "::1", "10.42.1.7", "172.31.255.255", "192.168.0.1",
                             "100.64.0.1", "fd00::1", "::ffff:10.42.1.7", "::ffff:127.0.0.1"})
    EXPECT_TRUE(contains(clients, ip(inside))) << inside;
  for (const char* outside : {"8.8.8.8", "172.32.0.0", "100.128.0.0", "2001:db8::1",
                              "::ffff:8.8.8.8", "fe80::1", "::10.42.1.7", "::2"})
    EXPECT_FALSE(contains(clients, ip(outside))) << outside;
}

TEST(ClientAcl, AnEmptyListAdmitsNobody) {
  EXPECT_FALSE(contains({}, ip("127.0.0.1")));
}

TEST(ClientAcl, AMappedPrefixAdmitsMappedClients) {
  const std::vector<Prefix> list = {Prefix::parse("::ffff:0:0/96").value()};
  EXPECT_TRUE(contains(list, ip("::ffff:8.8.8.8")));
  EXPECT_FALSE(contains(list, ip("::8.8.8.8")));
}

}  // namespace
}  // namespace oceanid::proxy
