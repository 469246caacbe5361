#include "proxy/edge/tls_session.hpp"

#include "gateway/base/tls/pem.hpp"
#include "proxy/edge/client_session.hpp"
#include "proxy/edge/intake.hpp"
#include "proxy/edge/tls_context.hpp"
#include "proxy/edge/tls_pump.hpp"

#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <sys/socket.h>

namespace oceanid::proxy {
namespace {

constexpr char handshake_record = 22;

struct Pair {
  UniqueFd ours;
  UniqueFd sessions;
};

std::optional<Pair> local_pair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) != 0)
    return std::nullopt;
  return Pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

class TlsSession {
 public:
  TlsSession(ServerCore& core, ClientConnection client)
      : core_(core),
        snapshot_(core.snapshot()),
        client_(std::move(client)),
        trace_(core.begin(client_.peer, "tls")) {}

  awaitable<void> run() {
    const Reason reason = co_await handshake();
    if (reason == Reason::ok) co_return start();
    if (plain_)
      co_await refuse_plain();
    else if (reason != Reason::handshake_failed)  // an alert has told the client why already
      reset_on_close(client_.socket.native_handle());
    client_.socket.close();
    if (!silent_) core_.finish(trace_, reason);
  }

 private:
  awaitable<Reason> handshake() {
    SSL_CTX* context = core_.tls().find(client_.listener.bind);
    if (context == nullptr) {
      trace_.record.rule = "proxy.listeners.tls: no usable certificate";
      co_return Reason::internal_error;
    }
    Intake intake(core_, client_.socket, client_.peer.address,
                  trace_.started + snapshot_->settings().timeouts.head);
    std::string first;
    if (const Reason reason = co_await intake.peek(first); reason != Reason::ok) {
      silent_ = reason == Reason::client_gone;
      co_return reason;
    }
    if (first.front() != handshake_record) {
      plain_ = std::isupper(static_cast<unsigned char>(first.front())) != 0;
      trace_.record.rule = "proxy.listeners.tls: the client does not speak TLS";
      co_return Reason::handshake_failed;
    }
    ssl_.reset(SSL_new(context));
    if (!ssl_ || SSL_set_fd(ssl_.get(), client_.socket.native_handle()) != 1)
      co_return Reason::overloaded;
    co_return co_await accept(intake);
  }

  awaitable<Reason> accept(Intake& intake) {
    for (;;) {
      const int done = tls_call([&] { return SSL_accept(ssl_.get()); });
      if (done == 1) co_return Reason::ok;
      Reason reason = Reason::ok;
      switch (SSL_get_error(ssl_.get(), done)) {
        case SSL_ERROR_WANT_READ:
          reason = co_await intake.wait();
          break;
        case SSL_ERROR_WANT_WRITE:
          reason = co_await intake.wait_writable();
          break;
        default:
          note_failure();
          co_return Reason::handshake_failed;
      }
      if (reason != Reason::ok) co_return reason;
    }
  }

  // The log shows why; the client has been told by an alert.
  void note_failure() {
    const auto verdict = SSL_get_verify_result(ssl_.get());
    const std::string why =
        verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : tls_error_text();
    trace_.record.rule =
        fmt::format("proxy.listeners.tls: {}", why.empty() ? "the client went away" : why);
    tls_error_text();
  }

  void start() {
    auto pair = local_pair();
    if (!pair) {
      core_.stats().shed(Reason::overloaded);
      core_.finish(trace_, Reason::overloaded);
      return;
    }
    ClientConnection inner{watch(core_.io(), std::move(pair->sessions)),
                           client_.peer,
                           std::move(client_.listener),
                           {},
                           names_in_certificate(SSL_get0_peer_certificate(ssl_.get()))};
    const int sessions_fd = inner.socket.native_handle();
    TlsPump::start(core_, std::move(ssl_), std::move(client_.socket),
                   watch(core_.io(), std::move(pair->ours)), sessions_fd);
    core_.tasks().spawn("client", serve_protocol(core_, std::move(inner)));
  }

  awaitable<void> refuse_plain() {
    Answer answer;
    answer.reason = Reason::handshake_failed;
    answer.detail = "this port speaks TLS; use https:// for the proxy";
    answer.request_id = trace_.record.id;
    answer.node = snapshot_->runtime->node;
    trace_.record.status = status_of(answer.reason);
    co_await say_and_leave(core_, client_.socket, render_answer(answer));
  }

  ServerCore& core_;
  std::shared_ptr<const Snapshot> snapshot_;
  ClientConnection client_;
  Trace trace_;
  Ssl ssl_;
  bool plain_ = false;   // speaks HTTP
  bool silent_ = false;  // came and went without a word
};

}  // namespace

awaitable<void> serve_tls(ServerCore& core, ClientConnection client) {
  TlsSession session(core, std::move(client));
  co_await session.run();
}

}  // namespace oceanid::proxy
