#include "proxy/core/proxy_header.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <cerrno>

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

ListenerSettings behind_balancer() {
  ListenerSettings out;
  out.proxy_protocol = true;
  out.trusted = {Prefix::parse("127.0.0.1/32").value()};
  return out;
}

void only_documentation_clients(Runtime&, ProxySettings& settings) {
  settings.clients = {Prefix::parse("192.0.2.0/24").value()};
}

void expect_reset(Peer& peer) {
  EXPECT_EQ(peer.recv_some(), "");
  EXPECT_EQ(peer.last_error(), ECONNRESET);
}

TEST(EdgeProxyProtocol, TheHeadersAddressIsTheClients) {
  Target target;
  Gateway gateway(only_documentation_clients, {}, behind_balancer());
  const auto at = [](std::string_view text) { return SocketAddress::parse(text).value(); };
  const std::string headers[] = {
      "PROXY TCP4 192.0.2.1 203.0.113.5 54321 443\r\n",
      write_proxy_header({at("192.0.2.1:1"), at("203.0.113.5:443")}),
  };
  for (const std::string& header : headers)
    for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, header.size() - 1}) {
      Peer client = gateway.client();
      ASSERT_TRUE(client.send_all(header.substr(0, cut)));
      ASSERT_TRUE(client.send_all(header.substr(cut) + connect_request(loopback(target.port()))));
      EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
      Peer server = target.accept();
    }
  Peer stranger = gateway.client();
  ASSERT_TRUE(stranger.send_all("PROXY TCP4 198.51.100.1 203.0.113.5 1 2\r\n" +
                                connect_request(loopback(target.port()))));
  EXPECT_TRUE(stranger.recv_head().starts_with("HTTP/1.1 403 "));
  Peer local = gateway.client();  // the balancer itself: no client of ours here
  ASSERT_TRUE(local.send_all(write_local_proxy_header()));
  EXPECT_TRUE(local.recv_head().starts_with("HTTP/1.1 403 "));
}

TEST(EdgeProxyProtocol, UntrustedSendersAreRefused) {
  Gateway gateway(only_documentation_clients, {}, behind_balancer());
  Peer client = gateway.client("127.0.0.2");
  // The reset may come before our first byte; then sending meets it, and reading finds an end.
  if (client.send_all("PROXY TCP4 192.0.2.1 203.0.113.5 54321 443\r\n"))
    expect_reset(client);
  else
    EXPECT_EQ(client.last_error(), ECONNRESET);
  EXPECT_TRUE(gateway.eventually(
      [](const auto& s) { return s.requests.contains({"client_not_allowed", "default"}); }));
}

TEST(EdgeProxyProtocol, WithoutAHeaderThereIsNoSession) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.head = 100ms; }, {},
                  behind_balancer());
  Peer plain = gateway.client();
  ASSERT_TRUE(plain.send_all(connect_request("127.0.0.1:80")));
  expect_reset(plain);
  EXPECT_TRUE(gateway.eventually(
      [](const auto& s) { return s.requests.contains({"handshake_failed", "default"}); }));
  Peer silent = gateway.client();
  ASSERT_TRUE(silent.send_all("PROXY TC"));
  expect_reset(silent);
  EXPECT_TRUE(gateway.eventually(
      [](const auto& s) { return s.requests.contains({"head_timeout", "default"}); }));
}

}  // namespace
}  // namespace oceanid::proxy::test
