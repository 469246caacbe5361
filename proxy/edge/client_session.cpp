#include "proxy/edge/client_session.hpp"

#include "proxy/edge/http_session.hpp"
#include "proxy/edge/proxy_protocol.hpp"
#include "proxy/edge/socks5_session.hpp"
#include "proxy/edge/tls_session.hpp"
#include "proxy/edge/transparent_session.hpp"

#include <utility>

namespace oceanid::proxy {

awaitable<void> serve_client(ServerCore& core, ClientConnection client) {
  if (client.listener.proxy_protocol && !co_await take_proxy_header(core, client)) co_return;
  if (client.listener.tls) co_return co_await serve_tls(core, std::move(client));
  co_await serve_protocol(core, std::move(client));
}

awaitable<void> serve_protocol(ServerCore& core, ClientConnection client) {
  switch (client.listener.protocol) {
    case ListenerProtocol::http:
      co_return co_await serve_http(core, std::move(client));
    case ListenerProtocol::transparent:
      co_return co_await serve_transparent(core, std::move(client));
    case ListenerProtocol::socks5:
      co_return co_await serve_socks5(core, std::move(client));
  }
}

}  // namespace oceanid::proxy
