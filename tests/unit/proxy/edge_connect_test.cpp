#include "tests/unit/proxy/edge_support.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

TEST(EdgeConnect, OpensATunnelAndCarriesBytesBothWays) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  ASSERT_TRUE(tunnel.client.send_all("ping"));
  EXPECT_EQ(tunnel.server.recv_exact(4), "ping");
  ASSERT_TRUE(tunnel.server.send_all("pong!"));
  EXPECT_EQ(tunnel.client.recv_exact(5), "pong!");
  EXPECT_EQ(gateway.stats().bytes_up, 4U);
  EXPECT_EQ(gateway.stats().bytes_down, 5U);
  EXPECT_EQ(gateway.stats().tunnels_open, 1U);
}

TEST(EdgeConnect, TheAnswerNamesTheNextHopAndTheRequest) {
  Gateway gateway;
  Target target;
  Peer client = gateway.client();
  const std::string answer = connect_through(client, loopback(target.port()));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 Connection Established\r\n")) << answer;
  EXPECT_NE(answer.find("next-hop=\"" + loopback(target.port()) + "\""), std::string::npos);
  EXPECT_NE(answer.find("X-Request-Id: "), std::string::npos);
  EXPECT_EQ(answer.find("Content-Length"), std::string::npos);
}

TEST(EdgeConnect, BytesBehindTheHeadReachTheTarget) {
  Gateway gateway;
  Target target;
  Peer client = gateway.client();
  const std::string early = pattern(3000, 1);
  EXPECT_TRUE(connect_through(client, loopback(target.port()), early).starts_with("HTTP/1.1 200 "));
  Peer server = target.accept();
  ASSERT_TRUE(client.send_all("later"));
  EXPECT_TRUE(server.recv_exact(3005) == early + "later");
  EXPECT_EQ(gateway.stats().bytes_up, 3005U);
}

}  // namespace
}  // namespace oceanid::proxy::test
