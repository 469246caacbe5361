#include "proxy/edge/runtime_check.hpp"
#include "tests/unit/proxy/edge_tls_support.hpp"

#include <cerrno>
#include <filesystem>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

namespace oceanid::proxy::test {
namespace {

ListenerSettings tls_listener(bool clients_have_certificates = false) {
  ListenerSettings out;
  out.bind = SocketAddress::parse("127.0.0.1:1").value();
  out.tls = ListenerTls{"cert.pem", "key.pem", std::nullopt, std::nullopt};
  if (clients_have_certificates) {
    out.tls->client_ca = "ca.pem";
    out.tls->crl = "crl.pem";
  }
  return out;
}

class EdgeTls : public testing::Test {
 protected:
  std::function<void(Runtime&, ProxySettings&)> with(const ListenerSettings& listener,
                                                     const Pem& certificate) {
    return [&, listener, certificate](Runtime& runtime, ProxySettings& settings) {
      settings.listeners = {listener};
      settings.timeouts.head = 2s;
      Secrets secrets{{"cert.pem", certificate.certificate},
                      {"key.pem", certificate.key},
                      {"ca.pem", authority_.certificate()},
                      {"crl.pem", authority_.revoke({66})}};
      runtime.secrets = std::make_shared<const Secrets>(std::move(secrets));
    };
  }

  TestAuthority authority_{"authority"};
  Pem server_ = authority_.issue("gateway.test");
  Target target_;
};

bool counted(const StatsSnapshot& stats, const std::string& outcome) {
  return stats.requests.contains({outcome, "default"});
}

std::string connect_over(TlsPeer& client, std::uint16_t port) {
  client.send_all(connect_request(loopback(port)));
  return client.recv_head();
}

TEST_F(EdgeTls, CarriesATunnelAndBothEnds) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsPeer client(gateway.client(), {.certificate = {}, .alpn = {}, .max_version = version});
    ASSERT_TRUE(client.handshake());
    EXPECT_EQ(client.server_name(), "gateway.test");
    ASSERT_TRUE(connect_over(client, target_.port()).starts_with("HTTP/1.1 200 "));
    Peer server = target_.accept();
    ASSERT_TRUE(client.send_all("ping"));
    EXPECT_EQ(server.recv_exact(4), "ping");
    server.send_all("pong");
    EXPECT_EQ(client.recv_exact(4), "pong");
    client.finish_sending();
    EXPECT_EQ(server.recv_all(), "");  // the end arrives, the other direction goes on
    ASSERT_TRUE(server.send_all("and more"));
    server.close();
    EXPECT_EQ(client.recv_all(), "and more");
    EXPECT_TRUE(client.ended_properly());
  }
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  EXPECT_EQ(gateway.stats().requests.at({"ok", "default"}), 2U);
  EXPECT_EQ(gateway.stats().bytes_up, 8U);
}

TEST_F(EdgeTls, AServersEndReachesTheClientFirst) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  TlsPeer client(gateway.client());
  ASSERT_TRUE(client.handshake());
  ASSERT_TRUE(connect_over(client, target_.port()).starts_with("HTTP/1.1 200 "));
  Peer server = target_.accept();
  server.finish_sending();
  EXPECT_EQ(client.recv_all(), "");
  EXPECT_TRUE(client.ended_properly());
  ASSERT_TRUE(client.send_all("late"));
  client.finish_sending();
  EXPECT_EQ(server.recv_all(), "late");
}

TEST_F(EdgeTls, BulkBothWaysWithSlowReaders) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  TlsPeer client(gateway.client());
  ASSERT_TRUE(client.handshake());
  ASSERT_TRUE(connect_over(client, target_.port()).starts_with("HTTP/1.1 200 "));
  Peer server = target_.accept();
  const std::string down = pattern(8 << 20, 1);
  const std::string up = pattern(8 << 20, 2);
  std::thread sender([&] {
    server.send_all(down);
    server.finish_sending();
  });
  EXPECT_TRUE(client.recv_all() == down);  // first down, then up: each side waits for the other
  sender.join();
  std::thread reader([&] { EXPECT_TRUE(server.recv_all() == up); });
  EXPECT_TRUE(client.send_all(up));
  client.finish_sending();
  reader.join();
}

TEST_F(EdgeTls, ResetsStayResets) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  {
    TlsPeer client(gateway.client());
    ASSERT_TRUE(client.handshake());
    ASSERT_TRUE(connect_over(client, target_.port()).starts_with("HTTP/1.1 200 "));
    Peer server = target_.accept();
    server.reset();
    EXPECT_EQ(client.recv_all(), "");
    EXPECT_FALSE(client.ended_properly());
    EXPECT_EQ(client.peer().recv_some(), "");
  }
  {
    TlsPeer client(gateway.client());
    ASSERT_TRUE(client.handshake());
    ASSERT_TRUE(connect_over(client, target_.port()).starts_with("HTTP/1.1 200 "));
    Peer server = target_.accept();
    client.peer().reset();
    EXPECT_EQ(server.recv_some(), "");
    EXPECT_EQ(server.last_error(), ECONNRESET);
  }
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
}

// The end of an HTTP/1.0 response is the end of the connection: this one has none.
TEST_F(EdgeTls, HalfAResponseDoesNotEndProperly) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  for (const bool whole : {true, false}) {
    TlsPeer client(gateway.client());
    ASSERT_TRUE(client.handshake());
    ASSERT_TRUE(client.send_all("GET http://" + loopback(target_.port()) + "/ HTTP/1.0\r\n\r\n"));
    Peer origin = target_.accept();
    origin.recv_head();
    ASSERT_TRUE(
        origin.send_all("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"));
    if (whole) ASSERT_TRUE(origin.send_all("0\r\n\r\n"));
    origin.close();
    EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
    EXPECT_EQ(client.recv_all(), "half");
    EXPECT_EQ(client.ended_properly(), whole);
  }
}

TEST_F(EdgeTls, HttpSpokenToItIsAnsweredInHttp) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("127.0.0.1:80")));
  client.finish_sending();
  const std::string answer = client.recv_all();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_NE(answer.find("TLS"), std::string::npos);
}

TEST_F(EdgeTls, AHandshakeHasToEnd) {
  Gateway gateway(
      [&](Runtime& r, ProxySettings& s) {
        with(tls_listener(), server_)(r, s);
        s.timeouts.head = 50ms;
      },
      {}, tls_listener());
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all("\x16\x03\x01"));
  EXPECT_EQ(client.recv_all(), "");
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return counted(s, "head_timeout"); }));
}

TEST_F(EdgeTls, SpeaksHttp11AndNothingElse) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  TlsPeer both(gateway.client(), {.certificate = {}, .alpn = {"h2", "http/1.1"}});
  ASSERT_TRUE(both.handshake());
  EXPECT_EQ(both.alpn(), "http/1.1");
  TlsPeer other(gateway.client(), {.certificate = {}, .alpn = {"h2"}});
  EXPECT_FALSE(other.handshake());
  TlsPeer old(gateway.client(), {.certificate = {}, .alpn = {}, .max_version = TLS1_1_VERSION});
  EXPECT_FALSE(old.handshake());
}

TEST_F(EdgeTls, ClientsCertificatesAreAskedForAndRevoked) {
  Gateway gateway(with(tls_listener(true), server_), {}, tls_listener(true));
  const Pem good = authority_.issue("ls.apps", "DNS:ls.apps", 3);
  TlsPeer known(gateway.client(), {.certificate = good, .alpn = {}});
  ASSERT_TRUE(known.handshake());
  ASSERT_TRUE(connect_over(known, target_.port()).starts_with("HTTP/1.1 200 "));

  TestAuthority stranger("stranger");
  const Pem refused[] = {{}, stranger.issue("ls.apps"), authority_.issue("revoked", "", 66)};
  for (const Pem& certificate : refused) {
    TlsPeer client(gateway.client(), {.certificate = certificate, .alpn = {}});
    if (client.handshake()) {
      client.send_all(connect_request(loopback(target_.port())));
      EXPECT_EQ(client.recv_head(), "");
    }
  }
  EXPECT_TRUE(gateway.eventually([](const auto& s) {
    const auto found = s.requests.find({"handshake_failed", "default"});
    return found != s.requests.end() && found->second == 3;
  }));
}

TEST_F(EdgeTls, TheNameInACertificateDecidesTheRole) {
  Role ours;
  ours.name = "ls";
  ours.certificates = {"ls.apps"};
  ours.allow = {"*"};
  Gateway gateway(
      [&](Runtime& runtime, ProxySettings& settings) {
        with(tls_listener(true), server_)(runtime, settings);
        settings.policy.default_action = PolicyDefault::deny;
        settings.policy.roles = {ours};
      },
      {}, tls_listener(true));
  const auto answer_to = [&](const Pem& certificate) {
    TlsPeer client(gateway.client(), {.certificate = certificate, .alpn = {}});
    EXPECT_TRUE(client.handshake());
    std::string head = connect_over(client, target_.port());
    client.peer().reset();  // a tunnel is counted at its end, and nobody serves the target
    return head;
  };
  // The common name counts, and so does a name beside it (RFC 6125).
  EXPECT_TRUE(answer_to(authority_.issue("ls.apps", "", 3)).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(answer_to(authority_.issue("x", "DNS:ls.apps", 4)).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(answer_to(authority_.issue("other.apps", "", 5)).starts_with("HTTP/1.1 403 "));
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.requests.contains({"ok", "ls"}); }));
}

TEST_F(EdgeTls, AReloadBringsANewCertificateAndTouchesNobody) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  TlsPeer before(gateway.client());
  ASSERT_TRUE(before.handshake());
  gateway.apply(with(tls_listener(), authority_.issue("renewed.test")));
  TlsPeer after(gateway.client());
  ASSERT_TRUE(after.handshake());
  EXPECT_EQ(after.server_name(), "renewed.test");
  ASSERT_TRUE(connect_over(before, target_.port()).starts_with("HTTP/1.1 200 "));
  gateway.apply(with(tls_listener(), {"no certificate", "no key"}));
  TlsPeer still(gateway.client());
  ASSERT_TRUE(still.handshake());
  EXPECT_EQ(still.server_name(), "renewed.test");
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_F(EdgeTls, NothingIsLeftBehindHoweverClientsGo) {
  Gateway gateway(with(tls_listener(), server_), {}, tls_listener());
  const auto visit = [&](int way) {
    TlsPeer client(gateway.client());
    if (way == 0) return;
    if (way == 1) return static_cast<void>(client.peer().send_all("\x16\x03\x01"));
    ASSERT_TRUE(client.handshake());
    if (way == 2) return;
    if (way == 3) return client.peer().reset();
    ASSERT_TRUE(connect_over(client, target_.port()).starts_with("HTTP/1.1 200 "));
    Peer server = target_.accept();
    if (way == 4) return;
    if (way == 5) return client.peer().reset();
    if (way == 6) return server.reset();
    client.send_all(pattern(1 << 16, 1));
    if (way == 7) return;
    server.send_all(pattern(1 << 20, 2));  // into buffers that nobody empties
  };
  for (int way = 0; way <= 8; ++way)
    visit(way);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  // Relays keep a few empty pipes for the next bulk; each way of leaving comes ten times.
  const std::size_t allowed = open_descriptors() + 8;
  for (int i = 0; i < 90; ++i)
    visit(i % 9);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  const auto deadline = SteadyClock::now() + 10s;
  while (open_descriptors() > allowed && SteadyClock::now() < deadline)
    std::this_thread::yield();
  EXPECT_LE(open_descriptors(), allowed);
}

TEST_F(EdgeTls, FaultyFilesAreNamedBeforeAnythingIsSwitched) {
  const Pem other = authority_.issue("other.test");
  const auto problem = [&](const ListenerSettings& listener, const Secrets& changes) {
    Runtime runtime;
    ProxySettings settings;
    with(listener, server_)(runtime, settings);
    Secrets secrets = *runtime.secrets;
    for (const auto& [path, text] : changes)
      secrets[path] = text;
    runtime.secrets = std::make_shared<const Secrets>(secrets);
    runtime.proxy = std::make_shared<const ProxySettings>(settings);
    const auto done = check_runtime(runtime);
    return done ? std::string() : done.error().what;
  };
  using testing::StartsWith;
  EXPECT_EQ(problem(tls_listener(true), {}), "");
  EXPECT_THAT(problem(tls_listener(), {{"cert.pem", ""}}), StartsWith("cert.pem: "));
  EXPECT_THAT(problem(tls_listener(), {{"cert.pem", server_.certificate.substr(0, 200)}}),
              StartsWith("cert.pem: "));
  EXPECT_THAT(problem(tls_listener(), {{"key.pem", "junk"}}), StartsWith("key.pem: "));
  EXPECT_THAT(problem(tls_listener(), {{"key.pem", other.key}}),
              StartsWith("key.pem: is not the key of cert.pem"));
  EXPECT_THAT(problem(tls_listener(true), {{"ca.pem", ""}}), StartsWith("ca.pem: "));
  EXPECT_THAT(problem(tls_listener(true), {{"crl.pem", "junk"}}), StartsWith("crl.pem: "));
}

TEST_F(EdgeTls, NamesOfACertificate) {
  const Pem pem = authority_.issue(
      "ls.apps", "DNS:a.test,email:x@a.test,URI:spiffe://a/b,IP:192.0.2.1,DNS:ls.apps");
  BIO* bio = BIO_new_mem_buf(pem.certificate.data(), -1);
  X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  EXPECT_THAT(names_in_certificate(certificate),
              testing::ElementsAre("ls.apps", "a.test", "x@a.test", "spiffe://a/b"));
  X509_free(certificate);
  BIO_free(bio);
}

}  // namespace
}  // namespace oceanid::proxy::test
