#include "tunnel/edge/tls_handshake.hpp"

#include "gateway/base/tls/pem.hpp"
#include "tunnel/core/connect_answer.hpp"
#include "tunnel/edge/transport_keys.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

using Descriptor = ShimLink::Descriptor;
constexpr std::size_t most_ignored = 64U << 10U;

awaitable<Result<void>> ready(Descriptor& socket, Descriptor::wait_type what) {
  auto [ec] = co_await socket.async_wait(what, as_result);
  if (ec) co_return fail(Errc::closed, "the connection was given up");
  co_return Result<void>();
}

// After an SSL call that did not succeed.
awaitable<Result<void>> wait_as_told(Descriptor& socket, SSL* ssl, int result,
                                     std::string_view doing) {
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
      co_return co_await ready(socket, Descriptor::wait_read);
    case SSL_ERROR_WANT_WRITE:
      co_return co_await ready(socket, Descriptor::wait_write);
    default:
      break;
  }
  const int reason = ERR_GET_REASON(ERR_peek_last_error());
  std::string why = tls_error_text();
  if (why.empty()) why = "the connection was closed";
  // What is wrong with their certificate is not in OpenSSL's queue.
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
    why += std::string(": ") + X509_verify_cert_error_string(SSL_get_verify_result(ssl));
  // RFC 8446 section 6: the other side's alerts have reasons from here on.
  const bool refused = reason >= SSL_AD_REASON_OFFSET;
  co_return fail(refused ? Errc::permission : Errc::protocol,
                 std::string(doing) + " failed (" + why + ")");
}

}  // namespace

awaitable<Result<void>> connected(Descriptor& socket) {
  if (auto done = co_await ready(socket, Descriptor::wait_write); !done) co_return done;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) co_return fail_errno("the TCP connection failed", error);
  co_return Result<void>();
}

awaitable<Result<void>> ask_proxy(Descriptor& socket, std::string target,
                                  std::string authorization) {
  const std::string request = connect_request(target, authorization);
  for (std::size_t at = 0; at < request.size();) {
    const ssize_t sent = ::send(socket.native_handle(), request.data() + at, request.size() - at,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      at += static_cast<std::size_t>(sent);
      continue;
    }
    if (errno != EAGAIN) co_return fail_errno("asking the proxy");
    if (auto done = co_await ready(socket, Descriptor::wait_write); !done) co_return done;
  }
  ConnectAnswer answer;
  for (;;) {
    // Byte ranges are looked at before they are taken: what is behind the head is TLS's.
    std::array<char, 2048> bytes{};
    const ssize_t seen =
        ::recv(socket.native_handle(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    if (seen == 0) co_return fail(Errc::closed, "the proxy closed the connection");
    if (seen < 0) {
      if (errno != EAGAIN) co_return fail_errno("waiting for the proxy");
      if (auto done = co_await ready(socket, Descriptor::wait_read); !done) co_return done;
      continue;
    }
    const auto state = answer.feed({bytes.data(), static_cast<std::size_t>(seen)});
    static_cast<void>(::recv(socket.native_handle(), bytes.data(), answer.taken(), MSG_DONTWAIT));
    if (state == ConnectAnswer::State::granted) co_return Result<void>();
    if (state == ConnectAnswer::State::refused)
      co_return fail(Errc::permission,
                     "the proxy answered with status " + std::to_string(answer.status()));
    if (state == ConnectAnswer::State::broken)
      co_return fail(Errc::protocol, "the proxy's answer is not HTTP");
  }
}

awaitable<Result<void>> handshake(Descriptor& socket, SSL* ssl) {
  for (;;) {
    const int done = tls_call([&] { return SSL_do_handshake(ssl); });
    if (done == 1) co_return Result<void>();
    if (auto waited = co_await wait_as_told(socket, ssl, done, "the TLS handshake"); !waited)
      co_return waited;
  }
}

awaitable<Result<void>> say_hello(Descriptor& socket, SSL* ssl, Hello hello) {
  std::vector<std::uint8_t> frame;
  append_frame(frame, encode(hello));
  for (;;) {
    const int sent =
        tls_call([&] { return SSL_write(ssl, frame.data(), static_cast<int>(frame.size())); });
    if (sent > 0) co_return Result<void>();
    if (auto waited = co_await wait_as_told(socket, ssl, sent, "the hello"); !waited)
      co_return waited;
  }
}

// Exactly one frame is read: datagrams may follow at once.
awaitable<Result<Hello>> hear_hello(Descriptor& socket, SSL* ssl) {
  std::array<std::uint8_t, frame_header_bytes + hello_bytes> frame{};
  for (std::size_t have = 0; have < frame.size();) {
    const int got = tls_call(
        [&] { return SSL_read(ssl, frame.data() + have, static_cast<int>(frame.size() - have)); });
    if (got > 0) {
      have += static_cast<std::size_t>(got);
      continue;
    }
    if (auto waited = co_await wait_as_told(socket, ssl, got, "waiting for the hello"); !waited)
      co_return std::unexpected(std::move(waited.error()));
  }
  FrameDecoder decoder;
  decoder.feed(frame);
  const auto datagram = decoder.next();
  const auto hello = datagram ? decode_hello(*datagram) : std::nullopt;
  if (!hello) co_return fail(Errc::protocol, "what came is no hello");
  co_return *hello;
}

awaitable<void> ignore_the_rest(Descriptor& socket) {
  std::array<char, 4096> bytes{};
  for (std::size_t ignored = 0; ignored < most_ignored;) {
    const ssize_t got = ::recv(socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) co_return;
    if (got > 0)
      ignored += static_cast<std::size_t>(got);
    else if (!co_await ready(socket, Descriptor::wait_read))
      co_return;
  }
}

awaitable<Result<std::shared_ptr<ShimLink>>> prove_as_dialler(Descriptor socket, Ssl ssl,
                                                              TransportKey key, SessionId session) {
  const auto exported = exported_of(ssl.get());
  if (!exported)
    co_return fail(Errc::protocol, "what answers there is no tunnel.tls of an oceanid");
  Hello hello{.kind = HelloKind::dialled, .session = session, .mac = {}};
  hello.mac = hello_mac(key, *exported, hello);
  if (auto said = co_await say_hello(socket, ssl.get(), hello); !said)
    co_return std::unexpected(std::move(said.error()));
  auto theirs = co_await hear_hello(socket, ssl.get());
  if (!theirs) {
    // In TLS 1.3 our own handshake is over before they look at our certificate. Of a key that is
    // none they say nothing.
    const bool certificate = theirs.error().code == Errc::permission;
    co_return std::unexpected(
        std::move(theirs.error())
            .context(certificate ? "the peer does not accept our certificate"
                                 : "the peer does not accept our key, or is another one"));
  }
  if (theirs->kind != HelloKind::accepted || theirs->session != session ||
      !same_mac(theirs->mac, hello_mac(key, *exported, *theirs)))
    co_return fail(Errc::permission, "what answers there does not have the peer's key");
  co_return std::make_shared<ShimLink>(std::move(socket), std::move(ssl));
}

}  // namespace oceanid::tunnel
