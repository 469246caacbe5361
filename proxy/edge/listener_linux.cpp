#include "gateway/base/runtime/log.hpp"
#include "proxy/edge/client_session.hpp"
#include "proxy/edge/forward_session.hpp"
#include "proxy/edge/listener.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr int accepts_per_turn = 64;
constexpr auto pause_when_exhausted = 50ms;

UniqueFd open_spare() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

// accept(2): errors of the new connection itself, already gone; the listener is fine.
bool concerns_connection(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case EOPNOTSUPP:
    case EPERM:
      return true;
    default:
      return false;
  }
}

// Whether a client takes HTTP from us before it has said anything else.
bool speaks_http_first(const std::variant<ListenerSettings, ForwardSettings>& what) {
  const auto* listener = std::get_if<ListenerSettings>(&what);
  return listener != nullptr && listener->protocol == ListenerProtocol::http && !listener->tls;
}

}  // namespace

Listener::Listener(ServerCore& core, ListenSocket socket)
    : core_(core),
      key_(std::move(socket.key)),
      what_(std::move(socket.what)),
      socket_(watch(core.io(), UniqueFd(socket.fd))),
      spare_(open_spare()) {
  error_code ignored;
  socket_.native_non_blocking(true, ignored);
  tune(socket_.native_handle());  // inherited by what it accepts
}

awaitable<void> Listener::run(std::shared_ptr<Listener> self) {
  while (!self->closed_) {
    auto [ec] = co_await self->socket_.async_wait(Descriptor::wait_read, as_result);
    if (self->closed_ || ec == asio::error::operation_aborted) break;
    if (self->accept_some() == Round::exhausted)
      static_cast<void>(co_await sleep_for(pause_when_exhausted));
  }
}

Listener::Round Listener::accept_some() {
  for (int i = 0; i < accepts_per_turn; ++i) {
    auto accepted = accept_from(socket_.native_handle());
    if (accepted) {
      start(std::move(*accepted));
      continue;
    }
    const int error = accepted.error();
    if (error == EAGAIN) return Round::drained;
    if (concerns_connection(error)) continue;
    if (error == EMFILE || error == ENFILE) {
      shed_one();
    } else if (error != ENOBUFS && error != ENOMEM) {
      log::error("proxy", "accepting failed",
                 {{"listener", key_}, {"error", std::strerror(error)}});
    }
    return Round::exhausted;
  }
  return Round::again;
}

void Listener::start(Accepted accepted) {
  Descriptor client = watch(core_.io(), std::move(accepted.fd));
  // What it is configured as now: a reload keeps the socket when only its settings changed.
  if (std::holds_alternative<ListenerSettings>(what_)) {
    auto listener = std::get<ListenerSettings>(what_);
    for (const ListenerSettings& now : core_.snapshot()->settings().listeners)
      if (now.bind == listener.bind) listener = now;
    ClientConnection connection{std::move(client), accepted.peer, std::move(listener), {}, {}};
    core_.tasks().spawn("client", serve_client(core_, std::move(connection)));
    return;
  }
  auto forward = std::get<ForwardSettings>(what_);
  const auto snapshot = core_.snapshot();
  for (const ForwardSettings& now : snapshot->runtime->forwards)
    if (now.bind == forward.bind) forward = now;
  core_.tasks().spawn("forward",
                      serve_forward(core_, std::move(client), accepted.peer, std::move(forward)));
}

// Without this, a connection that cannot be accepted would wake the loop for ever and its client
// would wait for an answer that cannot come.
void Listener::shed_one() {
  core_.stats().shed(Reason::overloaded);
  spare_.reset();
  if (auto accepted = accept_from(socket_.native_handle())) {
    if (speaks_http_first(what_)) {
      Answer answer;
      answer.reason = Reason::overloaded;
      answer.node = core_.snapshot()->runtime->node;
      static_cast<void>(send_some(accepted->fd.get(), render_answer(answer)));
    } else {
      reset_on_close(accepted->fd.get());
    }
  }
  spare_ = open_spare();
}

void Listener::close() {
  if (std::exchange(closed_, true)) return;
  while (accept_some() == Round::again) {
  }
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace oceanid::proxy
