#include "proxy/edge/client_session.hpp"

#include "proxy/edge/http_session.hpp"

#include <utility>

namespace oceanid::proxy {

awaitable<void> serve_client(ServerCore& core, ClientConnection client) {
  co_await serve_http(core, std::move(client));
}

}  // namespace oceanid::proxy
