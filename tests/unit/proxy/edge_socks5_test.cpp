#include "tests/unit/proxy/edge_name_server.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

using namespace std::string_literals;

ListenerSettings socks5_listener() {
  ListenerSettings out;
  out.protocol = ListenerProtocol::socks5;
  return out;
}

std::string port_bytes(std::uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 0xff)};
}
std::string connect_v4(std::uint16_t port) {
  return "\x05\x01\x00\x01\x7f\x00\x00\x01"s + port_bytes(port);
}
std::string connect_name(const std::string& name, std::uint16_t port) {
  return "\x05\x01\x00\x03"s + static_cast<char>(name.size()) + name + port_bytes(port);
}
const std::string hello_open = "\x05\x01\x00"s;

class OneUser : public Authenticator {
 public:
  awaitable<std::optional<std::string>> verify(std::string user, std::string password) override {
    if (user == "ls" && password == "secret") co_return user;
    co_return std::nullopt;
  }
};

bool counted(const StatsSnapshot& stats, const std::string& outcome) {
  const auto found = stats.requests.find({outcome, "default"});
  return found != stats.requests.end() && found->second > 0;
}

TEST(EdgeSocks5, ConnectsStepByStep) {
  Target target;
  Gateway gateway({}, {}, socks5_listener());
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(hello_open));
  EXPECT_EQ(client.recv_exact(2), "\x05\x00"s);
  ASSERT_TRUE(client.send_all(connect_v4(target.port())));
  Peer server = target.accept();
  const std::string reply = client.recv_exact(10);
  EXPECT_EQ(reply.substr(0, 8), "\x05\x00\x00\x01\x7f\x00\x00\x01"s);
  EXPECT_NE(reply.substr(8), "\0\0"s);  // our address towards the destination
  ASSERT_TRUE(client.send_all("ping"));
  EXPECT_EQ(server.recv_exact(4), "ping");
  ASSERT_TRUE(server.send_all("pong"));
  server.finish_sending();
  EXPECT_EQ(client.recv_all(), "pong");
}

TEST(EdgeSocks5, ConnectsWithEverythingInOnePieceByName) {
  NameServer dns({{"p.example.test", {.a = {"127.0.0.1"}}}});
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& s) { s.dns.servers = {dns.address()}; }, {},
                  socks5_listener());
  Peer client = gateway.client();
  ASSERT_TRUE(
      client.send_all(hello_open + connect_name("P.example.test", target.port()) + "early"));
  Peer server = target.accept();
  EXPECT_EQ(server.recv_exact(5), "early");
  EXPECT_EQ(client.recv_exact(6), "\x05\x00\x05\x00\x00\x01"s);
}

TEST(EdgeSocks5, PasswordsCount) {
  Target target;
  Gateway gateway([](Runtime& r, ProxySettings&) { r.users = std::make_shared<OneUser>(); }, {},
                  socks5_listener());
  Peer known = gateway.client();
  ASSERT_TRUE(known.send_all("\x05\x02\x00\x02"s));
  EXPECT_EQ(known.recv_exact(2), "\x05\x02"s);
  ASSERT_TRUE(known.send_all("\x01\x02ls\x06secret"s + connect_v4(target.port())));
  EXPECT_EQ(known.recv_exact(2), "\x01\x00"s);
  Peer server = target.accept();
  EXPECT_EQ(known.recv_exact(4), "\x05\x00\x00\x01"s);

  Peer wrong = gateway.client();
  ASSERT_TRUE(wrong.send_all("\x05\x01\x02\x01\x02ls\x05guess"s + connect_v4(target.port())));
  EXPECT_EQ(wrong.recv_all(), "\x05\x02\x01\x01"s);
  Peer without = gateway.client();
  ASSERT_TRUE(without.send_all(hello_open));
  EXPECT_EQ(without.recv_all(), "\x05\xff"s);
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeSocks5, RefusalsCarryTheirCode) {
  NameServer dns({});
  Gateway gateway(
      [&](Runtime&, ProxySettings& s) {
        s.dns.servers = {dns.address()};
        s.guard.deny = {Prefix::parse("127.0.0.9/32").value()};
      },
      {}, socks5_listener());
  struct Row {
    std::string request;
    char reply;
  };
  const Row rows[] = {
      {"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50"s, 7},
      {"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"s, 7},
      {"\x05\x01\x00\x05\x00\x00\x00\x00\x00\x00"s, 8},
      {"\x05\x01\x00\x01\x7f\x00\x00\x09\x00\x50"s, 2},
      {connect_v4(unused_port()), 5},
      {connect_name("nobody.example.test", 80), 4},
      {connect_name("a b", 80), 1},
  };
  for (const Row& row : rows) {
    Peer client = gateway.client();
    ASSERT_TRUE(client.send_all(hello_open + row.request));
    client.finish_sending();
    EXPECT_EQ(client.recv_all(), "\x05\x00\x05"s + row.reply + "\x00\x01\0\0\0\0\0\0"s)
        << testing::PrintToString(row.request);
  }
  EXPECT_TRUE(gateway.eventually([](const auto& s) {
    return counted(s, "destination_prohibited") && counted(s, "method_not_supported");
  }));
}

TEST(EdgeSocks5, StrangersAreToldInTheirTongue) {
  Gateway gateway({}, {}, socks5_listener());
  Peer http = gateway.client();
  ASSERT_TRUE(http.send_all(connect_request("127.0.0.1:80")));
  http.finish_sending();
  const std::string answer = http.recv_all();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_NE(answer.find("SOCKS5"), std::string::npos);
  Peer socks4 = gateway.client();
  ASSERT_TRUE(socks4.send_all("\x04\x01\x00\x50\x7f\x00\x00\x01\x00"s));
  EXPECT_EQ(socks4.recv_all(), "");
}

TEST(EdgeSocks5, AGreetingHasToCome) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.head = 50ms; }, {},
                  socks5_listener());
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all("\x05\x02\x00"s));
  EXPECT_EQ(client.recv_all(), "");
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return counted(s, "head_timeout"); }));
}

}  // namespace
}  // namespace oceanid::proxy::test
