#include "proxy/edge/deep_probe.hpp"

#include "proxy/edge/target_probe.hpp"
#include "proxy/edge/tls_pump.hpp"

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/x509_vfy.h>

namespace oceanid::proxy {
namespace {

constexpr const char* bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                   "/etc/pki/tls/certs/ca-bundle.crt"};
constexpr std::string_view too_late = "no answer in time";

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

DeepAnswer failed(std::string why) {
  DeepAnswer out;
  out.error = std::move(why);
  return out;
}

// Bytes over the connection, in TLS or not. A step returns an empty text, or what went wrong.
class ProbeStream {
 public:
  ProbeStream(asio::io_context& io, Descriptor socket, SteadyClock::time_point deadline)
      : socket_(std::move(socket)), timer_(io.get_executor()), deadline_(deadline) {}

  awaitable<std::string> handshake(SSL_CTX* trust, const std::string& host) {
    ssl_.reset(SSL_new(trust));
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1)
      co_return "TLS cannot be set up";
    if (IpAddress::parse(host)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str());
    } else {
      SSL_set_tlsext_host_name(ssl_.get(), host.c_str());
      SSL_set1_host(ssl_.get(), host.c_str());
    }
    for (;;) {
      const int done = tls_call([&] { return SSL_connect(ssl_.get()); });
      if (done == 1) co_return std::string();
      if (const auto told = co_await wait(done)) {
        const long verdict = SSL_get_verify_result(ssl_.get());
        if (verdict != X509_V_OK)
          co_return fmt::format("certificate: {}", X509_verify_cert_error_string(verdict));
        co_return *told;
      }
    }
  }

  std::optional<int> certificate_days() const {
    X509* const certificate = SSL_get0_peer_certificate(ssl_.get());
    if (certificate == nullptr) return std::nullopt;
    int days = 0;
    int rest = 0;
    if (ASN1_TIME_diff(&days, &rest, nullptr, X509_get0_notAfter(certificate)) != 1)
      return std::nullopt;
    return rest < 0 && days == 0 ? -1 : days;
  }

  awaitable<std::string> send(std::string_view text) {
    while (!text.empty()) {
      ssize_t sent = 0;
      if (ssl_) {
        const int size = static_cast<int>(text.size());
        sent = tls_call([&] { return SSL_write(ssl_.get(), text.data(), size); });
        if (sent <= 0) {
          if (const auto told = co_await wait(static_cast<int>(sent))) co_return *told;
          continue;
        }
      } else {
        sent = send_some(socket_.native_handle(), text);
        if (sent == -EAGAIN) {
          if (!co_await ready(Descriptor::wait_write)) co_return std::string(too_late);
          continue;
        }
        if (sent < 0) co_return reason_of(static_cast<int>(-sent));
      }
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    co_return std::string();
  }

  // Until the end, or as much as is looked at.
  awaitable<std::string> receive(std::string& into) {
    std::vector<char> buffer(4096);
    const int room = static_cast<int>(buffer.size());
    while (into.size() < longest_probe_reply) {
      ssize_t got = 0;
      if (ssl_) {
        got = tls_call([&] { return SSL_read(ssl_.get(), buffer.data(), room); });
        if (got <= 0) {
          const int error = SSL_get_error(ssl_.get(), static_cast<int>(got));
          if (error == SSL_ERROR_ZERO_RETURN) co_return std::string();
          if (const auto told = co_await wait(static_cast<int>(got)))
            co_return into.empty() ? *told : std::string();  // many close without a goodbye
          continue;
        }
      } else {
        got = recv_some(socket_.native_handle(), buffer.data(), buffer.size());
        if (got == 0) co_return std::string();
        if (got == -EAGAIN) {
          if (!co_await ready(Descriptor::wait_read)) co_return std::string(too_late);
          continue;
        }
        if (got < 0) co_return reason_of(static_cast<int>(-got));
      }
      into.append(buffer.data(), static_cast<std::size_t>(got));
    }
    co_return std::string();
  }

 private:
  awaitable<bool> ready(Descriptor::wait_type what) {
    co_return co_await wait_until_ready(socket_, what, timer_, deadline_);
  }
  // What an SSL call asked for; a text: it has failed.
  awaitable<std::optional<std::string>> wait(int result) {
    const int error = SSL_get_error(ssl_.get(), result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
      co_return std::string("the TLS handshake or connection failed");
    const auto what = error == SSL_ERROR_WANT_READ ? Descriptor::wait_read : Descriptor::wait_write;
    if (!co_await ready(what)) co_return std::string(too_late);
    co_return std::nullopt;
  }

  Descriptor socket_;
  Ssl ssl_;
  Timer timer_;
  SteadyClock::time_point deadline_;
};

awaitable<DeepAnswer> converse(ProbeStream stream, const DeepQuestion& question, SSL_CTX* trust) {
  DeepAnswer out;
  const bool tls = question.kind == DeepKind::tls || (question.url && question.url->tls);
  if (tls) {
    if (auto wrong = co_await stream.handshake(trust, question.to.host); !wrong.empty())
      co_return failed(std::move(wrong));
    out.certificate_days = stream.certificate_days();
  }
  if (question.url) {
    std::string text;
    if (auto wrong = co_await stream.send(probe_request(*question.url)); !wrong.empty())
      co_return failed(std::move(wrong));
    if (auto wrong = co_await stream.receive(text); !wrong.empty())
      co_return failed(std::move(wrong));
    const auto reply = parse_probe_reply(text);
    if (!reply) co_return failed("the answer is not HTTP");
    const bool right = question.status ? reply->status == *question.status
                                       : reply->status >= 200 && reply->status < 400;
    if (!right)
      co_return failed(question.status
                           ? fmt::format("status {}, expected {}", reply->status, *question.status)
                           : fmt::format("status {}", reply->status));
    if (question.wants_address && !reply->address)
      co_return failed("the answer does not begin with an address");
    out.seen = reply->address;
  }
  out.good = true;
  co_return out;
}

}  // namespace

SslContext probe_trust() {
  SslContext out(SSL_CTX_new(TLS_client_method()));
  if (!out) return out;
  SSL_CTX_set_verify(out.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_default_verify_paths(out.get());
  // Whoever takes part of a bundle away or adds to it does so here; the folder of hashes lags.
  for (const char* bundle : bundles)
    SSL_CTX_load_verify_file(out.get(), bundle);
  ERR_clear_error();
  return out;
}

awaitable<DeepAnswer> ask_deep(asio::io_context& io, DeepQuestion question, ExitChoice exit,
                               Resolver& resolver, SSL_CTX* trust,
                               SteadyClock::time_point deadline) {
  auto addresses = co_await resolver.resolve(question.to.host);
  if (!addresses)
    co_return failed(addresses.error().detail.empty() ? "the name cannot be resolved"
                                                      : addresses.error().detail);
  if (question.kind == DeepKind::dns) {
    DeepAnswer out;
    out.good = true;
    co_return out;
  }
  std::vector<SocketAddress> targets;
  for (const IpAddress& address : *addresses)
    targets.push_back({address, question.to.port});
  DialOptions options;
  options.exit = std::move(exit);
  options.deadline = deadline;
  auto dialed = co_await dial(io, std::move(targets), std::move(options));
  if (!dialed)
    co_return failed(dialed.error().detail.empty()
                         ? std::string(row_of(dialed.error().reason).meaning)
                         : dialed.error().detail);
  if (question.kind == DeepKind::tcp || question.kind == DeepKind::postgres) {
    const auto probe = question.kind == DeepKind::tcp ? ForwardProbe::tcp : ForwardProbe::postgres;
    DeepAnswer out;
    out.good =
        co_await target_answers(io, std::move(dialed->socket), probe, question.to.host, deadline);
    if (!out.good) out.error = "no answer to SSLRequest";
    co_return out;
  }
  co_return co_await converse(ProbeStream(io, std::move(dialed->socket), deadline), question,
                              trust);
}

}  // namespace oceanid::proxy
