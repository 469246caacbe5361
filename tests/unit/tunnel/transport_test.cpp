#include "transport_harness.hpp"
#include "tunnel/edge/key_store.hpp"

#include <algorithm>
#include <cstring>

namespace oceanid::tunnel {
namespace {

using testing::bound;
using testing::Client;
using testing::connecting;
using testing::Peer;
using testing::port_of;
using testing::transport_key;
using testing::TransportTest;
using namespace std::chrono_literals;

TEST(TransportKeys, AreTheSameOnBothSidesAndDependOnAllOfTheirParts) {
  const PrivateKey a = generate_private_key().value();
  const PrivateKey b = generate_private_key().value();
  const PresharedKey psk(generate_private_key().value().bytes());
  const auto of = [](const PrivateKey& own, const PrivateKey& peer,
                     const std::optional<PresharedKey>& preshared) {
    return tunnel::transport_key(own, public_key_of(peer).value(), preshared).value();
  };
  EXPECT_EQ(of(a, b, std::nullopt), of(b, a, std::nullopt));
  EXPECT_EQ(of(a, b, psk), of(b, a, psk));
  EXPECT_FALSE(of(a, b, psk) == of(a, b, std::nullopt));
  EXPECT_FALSE(of(a, b, std::nullopt) == of(a, a, std::nullopt));
  EXPECT_FALSE(tunnel::transport_key(a, PublicKey(), std::nullopt)) << "a low-order key";
}

TEST_F(TransportTest, CarriesDatagramsBothWays) {
  accept();
  dial(settings());
  ASSERT_TRUE(standing());
  ASSERT_TRUE(carries(near_, shim_port_, far_, "there"));
  const std::uint16_t session = far_.sources.back();
  ASSERT_TRUE(carries(far_, session, near_, "and back"));
  EXPECT_EQ(near_.sources.back(), shim_port_) << "WireGuard hears from where it sends to";
  EXPECT_EQ(acceptor_->counters().sessions, 1U) << "two connections, one session";
  EXPECT_EQ(acceptor_->counters().connections, 2U);
  EXPECT_EQ(acceptor_->counters().refused, 0U);
}

TEST_F(TransportTest, KeepsTheOrderAndTheBytesOfABulk) {
  accept();
  dial(settings());
  ASSERT_TRUE(standing());
  ASSERT_TRUE(carries(near_, shim_port_, far_, "first"));
  std::vector<std::string> got;
  constexpr int count = 3000;
  for (int i = 0; i < count; ++i) {
    std::string text = std::to_string(i) + ":";
    text.resize(1440, static_cast<char>('a' + i % 26));
    near_.send_to(shim_port_, text);
    if (i % 50 != 49) continue;
    run_for(5ms);
    for (auto& one : far_.take())
      if (one.size() == 1440) got.push_back(std::move(one));
  }
  until(
      [&] {
        for (auto& one : far_.take())
          if (one.size() == 1440) got.push_back(std::move(one));
        return got.size() == count;
      },
      1s);
  EXPECT_GT(got.size(), count / 2U);
  int last = -1;
  for (const std::string& one : got) {
    const int number = std::stoi(one);
    EXPECT_EQ(one.back(), static_cast<char>('a' + number % 26));
    EXPECT_GT(number, last);
    last = number;
  }
}

TEST_F(TransportTest, RefusesAnotherKeyQuietlyAndSaysWhyAtHome) {
  accept({.patience = 300ms});
  dial(settings(transport_key(2)));
  ASSERT_TRUE(until([&] { return acceptor_->counters().refused >= 1; }));
  ASSERT_TRUE(until([&] { return !dialling_host_.troubles.empty(); }));
  EXPECT_NE(dialling_host_.troubles.front().find("does not accept our key"), std::string::npos)
      << dialling_host_.troubles.front();
  EXPECT_EQ(acceptor_->counters().accepted, 0U);
  EXPECT_EQ(acceptor_->counters().sessions, 0U);
  EXPECT_EQ(dialling_host_.links[Transport::tls], 0U);
}

// Somebody in the middle who ends TLS and passes the hellos on: the keying material is another.
TEST_F(TransportTest, AHelloIsWorthNothingInAnotherConnection) {
  Exported one{};
  Exported other{};
  other.fill(1);
  Hello hello;
  hello.mac = hello_mac(transport_key(1), one, hello);
  EXPECT_FALSE(same_mac(hello.mac, hello_mac(transport_key(1), other, hello)));
  Hello turned = hello;  // nor is ours theirs
  turned.kind = HelloKind::accepted;
  EXPECT_FALSE(same_mac(hello.mac, hello_mac(transport_key(1), one, turned)));
  turned = hello;
  turned.session.fill(3);
  EXPECT_FALSE(same_mac(hello.mac, hello_mac(transport_key(1), one, turned)));
}

TEST_F(TransportTest, ForeignTlsClientsHearNothingAndAreClosedInTime) {
  accept({.patience = 500ms});
  SslContext plain(SSL_CTX_new(TLS_client_method()));  // no ALPN: a browser, a scanner
  Client client(io_, port_);
  ASSERT_TRUE(wait_for(connected(client.socket_)));
  Ssl ssl(SSL_new(plain.get()));
  SSL_set_fd(ssl.get(), client.fd());
  SSL_set_connect_state(ssl.get());
  ASSERT_TRUE(wait_for(handshake(client.socket_, ssl.get()))) << "TLS itself works";
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  SSL_write(ssl.get(), request.data(), static_cast<int>(request.size()));
  run_for(150ms);
  std::array<char, 64> bytes{};
  EXPECT_LE(SSL_read(ssl.get(), bytes.data(), bytes.size()), 0) << "not a byte of an answer";
  EXPECT_FALSE(client.closed()) << "and no hint by closing at once";
  EXPECT_TRUE(until([&] { return client.closed(); }));
  EXPECT_EQ(acceptor_->counters().refused, 1U);
}

TEST_F(TransportTest, SilentAndTalkativeStrangersAreClosedInTimeAndCounted) {
  accept({.of_address = 3, .patience = 500ms});
  Client silent(io_, port_);
  Client talkative(io_, port_);
  ASSERT_TRUE(wait_for(connected(talkative.socket_)));
  const std::string noise(20000, 'x');
  ::send(talkative.fd(), noise.data(), noise.size(), MSG_NOSIGNAL);
  EXPECT_TRUE(until([&] { return silent.closed() && talkative.closed(); }));
  EXPECT_EQ(acceptor_->counters().refused, 2U);
}

TEST_F(TransportTest, OneAddressCannotHoldEverythingAndPeersStillComeIn) {
  accept({.strangers = 8, .of_address = 3, .patience = 400ms});
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 10; ++i)
    crowd.push_back(std::make_unique<Client>(io_, port_));
  EXPECT_TRUE(until([&] { return acceptor_->counters().refused >= 7; }));
  dial(settings());
  EXPECT_TRUE(standing()) << "when the strangers' time is over";
}

TEST_F(TransportTest, AMangledFrameEndsTheConnectionAndNothingElse) {
  accept();
  dial(settings());
  ASSERT_TRUE(standing());
  Client peer(io_, port_);
  ASSERT_TRUE(wait_for(Peer::prove(peer)));
  ASSERT_TRUE(until([&] { return acceptor_->counters().connections == 3; }));
  const std::array<unsigned char, 6> frames{0, 1, 'x', 0xff, 0xff, 0};
  SSL_write(peer.ssl.get(), frames.data(), frames.size());
  EXPECT_TRUE(until([&] { return peer.closed(); }));
  const auto got = far_.take();
  EXPECT_NE(std::ranges::find(got, "x"), got.end()) << "what came before was whole";
  EXPECT_EQ(acceptor_->counters().connections, 2U);
  EXPECT_TRUE(carries(near_, shim_port_, far_, "the others go on"));
}

// What does not fit through is lost, and what comes through is fresh.
TEST_F(TransportTest, ASlowReceiverDelaysDatagramsNoLongerThanTheBuffersHold) {
  accept();
  Client peer(io_, port_);
  ASSERT_TRUE(wait_for(Peer::prove(peer)));
  ASSERT_TRUE(until([&] { return acceptor_->counters().connections == 1; }));
  const std::string first = std::string("\0\1w", 3);
  SSL_write(peer.ssl.get(), first.data(), static_cast<int>(first.size()));
  ASSERT_TRUE(until([&] { return !far_.take().empty(); }));
  const std::uint16_t session = far_.sources.back();
  // 20 MB/s for a second and a half towards somebody who does not read.
  const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  const auto send = [&](int count) {
    for (int i = 0; i < count; ++i) {
      std::string text(1400, 'b');
      const auto stamp = now();
      std::memcpy(text.data(), &stamp, sizeof stamp);
      far_.send_to(session, text);
    }
  };
  for (int turn = 0; turn < 150; ++turn) {
    send(140);
    run_for(10ms);
  }
  // Now it reads all there is, while a little goes on coming.
  FrameDecoder decoder;
  std::vector<std::chrono::nanoseconds> ages;
  const auto end = std::chrono::steady_clock::now() + 1500ms;
  while (std::chrono::steady_clock::now() < end) {
    send(1);
    run_for(5ms);
    std::array<std::uint8_t, 16384> bytes{};
    for (int got = 0; (got = SSL_read(peer.ssl.get(), bytes.data(), bytes.size())) > 0;) {
      decoder.feed(ByteSpan(bytes).first(static_cast<std::size_t>(got)));
      while (const auto datagram = decoder.next()) {
        if (datagram->size() != 1400) continue;
        std::int64_t stamp = 0;
        std::memcpy(&stamp, datagram->data(), sizeof stamp);
        ages.emplace_back(now() - stamp);
      }
    }
  }
  ASSERT_GT(ages.size(), 100U);
  EXPECT_LT(ages.size(), 150U * 140U / 2) << "most of it was never sent";
  EXPECT_LT(ages.back(), 1s) << "the last ones did not wait behind a second and a half of others";
}

TEST_F(TransportTest, WhileDeafNothingReachesWireGuard) {
  accept();
  dial(settings());
  ASSERT_TRUE(standing());
  ASSERT_TRUE(carries(near_, shim_port_, far_, "there"));
  const std::uint16_t session = far_.sources.back();
  dialler_->order({.dial_tls = true, .deaf = true});
  near_.take();
  for (int i = 0; i < 20; ++i)
    far_.send_to(session, "nobody hears it");
  run_for(200ms);
  EXPECT_TRUE(near_.take().empty());
  dialler_->order({.dial_tls = true});
  EXPECT_TRUE(carries(far_, session, near_, "heard again"));
}

TEST_F(TransportTest, ABrokenConnectionIsDialledAgainIntoTheSameSession) {
  accept();
  dial(settings());
  ASSERT_TRUE(standing());
  ASSERT_TRUE(carries(near_, shim_port_, far_, "before"));
  const std::uint16_t session = far_.sources.back();
  dialler_->order({});
  ASSERT_TRUE(standing(0));
  dialler_->order({.dial_tls = true});
  ASSERT_TRUE(standing());
  ASSERT_TRUE(carries(near_, shim_port_, far_, "after"));
  EXPECT_EQ(far_.sources.back(), session) << "WireGuard sees the peer where it was";
}

TEST_F(TransportTest, IsDialledOnlyWhileAskedFor) {
  accept();
  dial(settings());
  dialler_->order({});
  run_for(300ms);
  EXPECT_LE(dialling_host_.asked[SocketPurpose::tls], 1);
  EXPECT_EQ(dialling_host_.links[Transport::tls], 0U);
}

awaitable<void> pass_on(std::shared_ptr<ShimLink::Descriptor> from,
                        std::shared_ptr<ShimLink::Descriptor> to) {
  std::array<char, 16384> bytes{};
  for (;;) {
    auto [ec, got] = co_await from->async_read_some(asio::buffer(bytes), as_result);
    if (ec) co_return;
    std::size_t sent = 0;
    while (sent < got) {
      auto [failed, n] =
          co_await to->async_write_some(asio::buffer(bytes.data() + sent, got - sent), as_result);
      if (failed) co_return;
      sent += n;
    }
  }
}

TEST_F(TransportTest, GoesThroughAProxyThatGrantsConnect) {
  accept();
  // A proxy of four lines: reads the head, says yes, and passes bytes on.
  UniqueFd listener = bound(SOCK_STREAM);
  dialling_host_.ports[SocketPurpose::proxied] = port_of(listener);
  std::string head;
  using Descriptor = ShimLink::Descriptor;
  constexpr auto proxy = [](asio::io_context& io, std::uint16_t port, std::string& asked,
                            Descriptor accepting) -> awaitable<void> {
    for (;;) {
      auto [ec] = co_await accepting.async_wait(ShimLink::Descriptor::wait_read, as_result);
      if (ec) co_return;
      auto client = std::make_shared<ShimLink::Descriptor>(
          io, ::accept4(accepting.native_handle(), nullptr, nullptr, SOCK_NONBLOCK));
      asked.clear();
      while (!asked.ends_with("\r\n\r\n")) {
        char byte = 0;
        auto [failed, n] = co_await client->async_read_some(asio::buffer(&byte, 1), as_result);
        if (failed) co_return;
        asked += byte;
      }
      const std::string yes = "HTTP/1.1 200 yes\r\n\r\n";
      co_await client->async_write_some(asio::buffer(yes), as_result);
      auto target =
          std::make_shared<ShimLink::Descriptor>(io, connecting(SOCK_STREAM, port).release());
      asio::co_spawn(io, pass_on(client, target), asio::detached);
      asio::co_spawn(io, pass_on(target, client), asio::detached);
    }
  };
  asio::co_spawn(io_, proxy(io_, port_, head, Descriptor(io_, listener.release())), asio::detached);
  DialSettings through = settings();
  through.proxy_target = "tethys.example.net:443";
  through.authorization = "Basic dTpw";
  dial(through);
  dialler_->order({.dial_proxied = true});
  ASSERT_TRUE(until([&] { return dialling_host_.links[Transport::proxied] == 2; }));
  EXPECT_EQ(head,
            "CONNECT tethys.example.net:443 HTTP/1.1\r\nHost: tethys.example.net:443\r\n"
            "Proxy-Authorization: Basic dTpw\r\n\r\n");
  EXPECT_TRUE(carries(near_, shim_port_, far_, "through"));
}

TEST_F(TransportTest, UdpIsAskedForAndAnsweredUnderTheKeyOnly) {
  UniqueFd socket = bound(SOCK_DGRAM);
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  const std::uint16_t port = port_of(socket);
  ReachResponder responder(io_.get_executor(), std::move(socket));
  responder.set_keys({transport_key(5), transport_key(1)});
  asio::co_spawn(io_, responder.run(), asio::detached);
  dialling_host_.ports[SocketPurpose::udp] = port;
  dialling_host_.ports[SocketPurpose::udp_443] = port;
  dialling_host_.ports[SocketPurpose::tls] = 1;
  dial(settings());
  dialler_->order({.probe_every = 20ms});
  EXPECT_TRUE(until([&] {
    return dialling_host_.answers[Transport::udp] >= 5 &&
           dialling_host_.answers[Transport::udp_443] >= 5;
  }));
  responder.set_keys({transport_key(5)});
  run_for(100ms);
  const int before = dialling_host_.answers[Transport::udp];
  const auto answered = responder.answered();
  run_for(300ms);
  EXPECT_EQ(dialling_host_.answers[Transport::udp], before);
  EXPECT_EQ(responder.answered(), answered);
  EXPECT_GT(responder.ignored(), 0U);
  responder.stop();
  run_for(20ms);
}

// An eavesdropper's copy of a question is answered where it comes from, in the same size, and an
// answer is no question.
TEST_F(TransportTest, TheResponderNeitherAmplifiesNorTalksToItself) {
  UniqueFd socket = bound(SOCK_DGRAM);
  const std::uint16_t port = port_of(socket);
  ReachResponder responder(io_.get_executor(), std::move(socket));
  responder.set_keys({transport_key(1)});
  asio::co_spawn(io_, responder.run(), asio::detached);
  ReachProbe probe{.type = ReachType::question, .nonce = 42, .mac = {}};
  probe.mac = reach_mac(transport_key(1), probe);
  const auto text = [](const ReachProbe& one) {
    const ReachBytes bytes = encode(one);
    return std::string(bytes.begin(), bytes.end());
  };
  near_.send_to(port, text(probe));
  std::vector<std::string> got;
  ASSERT_TRUE(until([&] {
    got = near_.take();
    return !got.empty();
  }));
  EXPECT_EQ(got.front().size(), reach_bytes);
  near_.send_to(port, got.front());
  near_.send_to(port, text(probe) + "longer");
  probe.nonce = 43;  // the MAC does not fit any more
  near_.send_to(port, text(probe));
  run_for(150ms);
  EXPECT_TRUE(near_.take().empty());
  EXPECT_EQ(responder.answered(), 1U);
  responder.stop();
  run_for(20ms);
}

TEST_F(TransportTest, ACertificateIsAskedForWhereAnAuthorityIsConfigured) {
  // No authority signed the one that the acceptor makes up.
  accept();
  DialSettings careful = settings();
  careful.material.authority = "-----BEGIN CERTIFICATE-----\nnonsense";
  EXPECT_FALSE(
      TransportDialler::make(io_.get_executor(), careful, bound(SOCK_DGRAM), dialling_host_))
      << "an authority that is none";
}

}  // namespace
}  // namespace oceanid::tunnel
