#include "proxy/edge/target_probe.hpp"

#include "gateway/base/net_types.hpp"
#include "proxy/edge/tls_context.hpp"
#include "proxy/edge/tls_pump.hpp"

#include <cerrno>
#include <string_view>

namespace oceanid::proxy {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view ssl_request = "\0\0\0\x08\x04\xd2\x16\x2f"sv;

awaitable<bool> postgres_answers(asio::io_context& io, Descriptor& socket,
                                 SteadyClock::time_point deadline) {
  if (send_some(socket.native_handle(), ssl_request) != static_cast<ssize_t>(ssl_request.size()))
    co_return false;
  Timer timer(io.get_executor());
  for (;;) {
    char answer = 0;
    const ssize_t got = recv_some(socket.native_handle(), &answer, 1);
    if (got != -EAGAIN) co_return got == 1 && (answer == 'S' || answer == 'N' || answer == 'E');
    if (!co_await wait_until_ready(socket, Descriptor::wait_read, timer, deadline)) co_return false;
  }
}

awaitable<bool> tls_answers(asio::io_context& io, Descriptor& socket, std::string host,
                            SteadyClock::time_point deadline) {
  const SslContext context(SSL_CTX_new(TLS_client_method()));
  const Ssl ssl(context ? SSL_new(context.get()) : nullptr);
  if (!ssl || SSL_set_fd(ssl.get(), socket.native_handle()) != 1) co_return false;
  if (!IpAddress::parse(host)) SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  Timer timer(io.get_executor());
  for (;;) {
    const int done = tls_call([&] { return SSL_connect(ssl.get()); });
    if (done == 1) break;
    const int error = SSL_get_error(ssl.get(), done);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) co_return false;
    const auto what = error == SSL_ERROR_WANT_READ ? Descriptor::wait_read : Descriptor::wait_write;
    if (!co_await wait_until_ready(socket, what, timer, deadline)) co_return false;
  }
  tls_call([&] { return SSL_shutdown(ssl.get()); });
  co_return true;
}

}  // namespace

awaitable<bool> target_answers(asio::io_context& io, Descriptor socket, ForwardProbe probe,
                               std::string host, SteadyClock::time_point deadline) {
  switch (probe) {
    case ForwardProbe::postgres:
      co_return co_await postgres_answers(io, socket, deadline);
    case ForwardProbe::tls:
      co_return co_await tls_answers(io, socket, std::move(host), deadline);
    case ForwardProbe::tcp:
    case ForwardProbe::none:
      co_return true;
  }
  co_return true;
}

}  // namespace oceanid::proxy
