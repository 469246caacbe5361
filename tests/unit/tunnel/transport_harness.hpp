#pragma once
// Two ends of the TLS transport in one process, on loopback: an acceptor with its WireGuard, a
// dialler with its own. "WireGuard" is a UDP socket that the test reads and writes.

#include "gateway/base/runtime/socket_address.hpp"
#include "tunnel/edge/tls_handshake.hpp"
#include "tunnel/edge/transport_acceptor.hpp"
#include "tunnel/edge/transport_dialler.hpp"

#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::tunnel::testing {

using namespace std::chrono_literals;

inline TransportKey transport_key(std::uint8_t seed) {
  KeyBytes bytes{};
  bytes.fill(seed);
  return TransportKey(bytes);
}

inline SocketAddress loopback(std::uint16_t port) {
  return {IpAddress::v4({127, 0, 0, 1}), port};
}

inline UniqueFd bound(int type) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const NativeAddress any = to_native(loopback(0));
  EXPECT_EQ(::bind(fd.get(), any.get(), any.length), 0);
  if (type == SOCK_STREAM) EXPECT_EQ(::listen(fd.get(), 64), 0);
  return fd;
}

inline std::uint16_t port_of(const UniqueFd& fd) {
  NativeAddress at;
  EXPECT_EQ(::getsockname(fd.get(), at.get(), &at.length), 0);
  return from_native(at)->port;
}

inline UniqueFd connecting(int type, std::uint16_t port) {
  UniqueFd fd = bound(SOCK_DGRAM);
  if (type == SOCK_STREAM)
    fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const NativeAddress to = to_native(loopback(port));
  static_cast<void>(::connect(fd.get(), to.get(), to.length));
  return fd;
}

// A UDP socket in the place of WireGuard's.
class FakeWireGuard {
 public:
  FakeWireGuard() : fd_(bound(SOCK_DGRAM)) {}
  std::uint16_t port() const { return port_of(fd_); }
  void send_to(std::uint16_t port, const std::string& text) const {
    const NativeAddress to = to_native(loopback(port));
    ::sendto(fd_.get(), text.data(), text.size(), 0, to.get(), to.length);
  }
  // Everything that has come, and from which ports.
  std::vector<std::string> take() {
    std::vector<std::string> out;
    std::vector<char> bytes(65536);
    for (;;) {
      NativeAddress from;
      const ssize_t size =
          ::recvfrom(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT, from.get(), &from.length);
      if (size < 0) return out;
      sources.push_back(from_native(from)->port);
      out.emplace_back(bytes.data(), static_cast<std::size_t>(size));
    }
  }
  std::vector<std::uint16_t> sources;

 private:
  UniqueFd fd_;
};

class TestHost final : public TransportHost {
 public:
  awaitable<Result<UniqueFd>> socket(SocketPurpose purpose, std::string) override {
    ++asked[purpose];
    const auto port = ports.find(purpose);
    if (port == ports.end()) co_return fail(Errc::not_found, "not in this test");
    const bool tcp = purpose == SocketPurpose::tls || purpose == SocketPurpose::proxied;
    co_return connecting(tcp ? SOCK_STREAM : SOCK_DGRAM, port->second);
  }
  void on_links(const std::string&, Transport rung, std::size_t count) override {
    links[rung] = count;
  }
  void on_answer(const std::string&, Transport rung) override { ++answers[rung]; }
  void on_trouble(const std::string&, Transport, const std::string& why) override {
    troubles.push_back(why);
  }

  std::map<SocketPurpose, std::uint16_t> ports;
  std::map<SocketPurpose, int> asked;
  std::map<Transport, std::size_t> links;
  std::map<Transport, int> answers;
  std::vector<std::string> troubles;
};

class TransportTest : public ::testing::Test {
 protected:
  TransportTest() { std::signal(SIGPIPE, SIG_IGN); }  // as in every process of ours

  void accept(TransportAcceptor::Limits limits = {}, const TlsMaterial& material = {},
              TransportKey key = transport_key(1)) {
    accepting_host_.ports[SocketPurpose::session] = far_.port();
    acceptor_ = std::make_unique<TransportAcceptor>(io_.get_executor(), accepting_host_, limits);
    ASSERT_TRUE(acceptor_->configure(material, {{"styx", key}}));
    UniqueFd listener = bound(SOCK_STREAM);
    port_ = port_of(listener);
    acceptor_->listen(std::move(listener));
    dialling_host_.ports[SocketPurpose::tls] = port_;
  }

  void dial(DialSettings settings) {
    UniqueFd shim = bound(SOCK_DGRAM);
    shim_port_ = port_of(shim);
    const NativeAddress wireguard = to_native(loopback(near_.port()));
    ASSERT_EQ(::connect(shim.get(), wireguard.get(), wireguard.length), 0);
    auto made = TransportDialler::make(io_.get_executor(), std::move(settings), std::move(shim),
                                       dialling_host_);
    ASSERT_TRUE(made) << made.error().what;
    dialler_ = std::move(*made);
    dialler_->start();
    dialler_->order({.dial_tls = true});
  }
  static DialSettings settings(TransportKey key = transport_key(1)) {
    DialSettings out;
    out.peer = "tethys";
    out.key = key;
    out.host = "127.0.0.1";
    return out;
  }

  // Runs the loop until `what` holds; false: not within `patience`.
  bool until(const std::function<bool()>& what, std::chrono::milliseconds patience = 20s) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!what()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      io_.restart();
      io_.run_for(5ms);
    }
    return true;
  }
  void run_for(std::chrono::milliseconds time) {
    until([] { return false; }, time);
  }
  bool standing(std::size_t count = 2) {
    return until([&] { return dialling_host_.links[Transport::tls] == count; });
  }
  // Sends until something has come through (a datagram may be lost).
  bool carries(FakeWireGuard& from, std::uint16_t to, FakeWireGuard& into,
               const std::string& text) {
    return until([&] {
      from.send_to(to, text);
      io_.restart();
      io_.run_for(5ms);
      const auto got = into.take();
      return std::ranges::find(got, text) != got.end();
    });
  }

  template <class T>
  T wait_for(awaitable<T> work) {
    std::optional<T> out;
    asio::co_spawn(io_, std::move(work),
                   [&](const std::exception_ptr&, T result) { out.emplace(std::move(result)); });
    EXPECT_TRUE(until([&] { return out.has_value(); }));
    return std::move(*out);
  }
  void finish(awaitable<void> work) {
    bool done = false;
    asio::co_spawn(io_, std::move(work), [&](const std::exception_ptr&) { done = true; });
    EXPECT_TRUE(until([&] { return done; }));
  }

  void TearDown() override {
    if (dialler_) finish(dialler_->stop());
    if (acceptor_) finish(acceptor_->stop());
  }

  asio::io_context io_;
  FakeWireGuard near_;  // the dialler's
  FakeWireGuard far_;   // the acceptor's
  TestHost dialling_host_;
  TestHost accepting_host_;
  std::unique_ptr<TransportAcceptor> acceptor_;
  std::unique_ptr<TransportDialler> dialler_;
  std::uint16_t port_ = 0;       // TLS
  std::uint16_t shim_port_ = 0;  // where near_ sends to
};

// A client of the test's own, as far as the acceptor lets it.
class Client {
 public:
  Client(asio::io_context& io, std::uint16_t port)
      : socket_(io, connecting(SOCK_STREAM, port).release()) {}
  int fd() { return socket_.native_handle(); }
  bool closed() {
    char byte = 0;
    const ssize_t got = ::recv(fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN);
  }
  ShimLink::Descriptor socket_;
  SslContext context = make_dialling_context({}).value();
  Ssl ssl;
};

// Proves itself as a peer, then does as the test says.
class Peer : public Client {
 public:
  using Client::Client;
  static awaitable<Result<std::shared_ptr<ShimLink>>> prove(Client& client,
                                                            TransportKey key = transport_key(1)) {
    if (auto done = co_await connected(client.socket_); !done)
      co_return std::unexpected(done.error());
    client.ssl = dialling(client.context.get(), client.fd(), "127.0.0.1").value();
    if (auto done = co_await handshake(client.socket_, client.ssl.get()); !done)
      co_return std::unexpected(done.error());
    const auto exported = exported_of(client.ssl.get());
    Hello hello;
    hello.session.fill(7);
    hello.mac = hello_mac(key, *exported, hello);
    if (auto done = co_await say_hello(client.socket_, client.ssl.get(), hello); !done)
      co_return std::unexpected(done.error());
    auto theirs = co_await hear_hello(client.socket_, client.ssl.get());
    if (!theirs) co_return std::unexpected(theirs.error());
    co_return std::shared_ptr<ShimLink>();
  }
};

}  // namespace oceanid::tunnel::testing
