#include "proxy/edge/socks5_session.hpp"

#include "proxy/core/socks5.hpp"
#include "proxy/edge/admission.hpp"
#include "proxy/edge/credentials.hpp"
#include "proxy/edge/intake.hpp"
#include "proxy/edge/upstream.hpp"

#include <cctype>
#include <optional>
#include <utility>

namespace oceanid::proxy {
namespace {

class Socks5Session {
 public:
  Socks5Session(ServerCore& core, ClientConnection connection)
      : core_(core),
        snapshot_(core.snapshot()),
        client_(std::move(connection.socket)),
        who_{connection.peer.address, {}, std::move(connection.certificates)},
        bytes_(std::move(connection.early)),
        trace_(core.begin(connection.peer, "socks5")) {}

  awaitable<void> run() {
    std::optional<Refusal> refusal;
    if (!client_allowed(*snapshot_, who_.source)) {
      // Said as SOCKS5 says it, to a request that we do not even read.
      reply_ = socks5_method(Socks5Method::unacceptable);
      refusal = Refusal{Reason::client_not_allowed, {}, {}};
    } else {
      refusal = co_await negotiate();
    }
    if (!refusal) refusal = enter();
    if (!refusal) refusal = co_await connect();
    if (refusal) co_await refuse(std::move(*refusal));
  }

 private:
  awaitable<std::optional<Refusal>> negotiate() {
    Intake intake(core_, client_, who_.source,
                  trace_.started + snapshot_->settings().timeouts.head);
    auto refusal = co_await greet(intake);
    if (!refusal && with_password_) refusal = co_await authenticate(intake);
    if (!refusal) refusal = co_await read_request(intake);
    co_return refusal;
  }

  // Reads until the function has a whole message in front of it, and takes that.
  template <class Message>
  awaitable<std::optional<Refusal>> read_message(Intake& intake, Message (*read)(std::string_view),
                                                 Message& out) {
    for (;;) {
      out = read(bytes_);
      if (out.state != Socks5State::need_more) break;
      if (const Reason reason = co_await intake.read(bytes_); reason != Reason::ok) {
        silent_ = bytes_.empty() && reason == Reason::client_gone;
        co_return Refusal{reason, {}, {}};
      }
    }
    if (out.state == Socks5State::failed) co_return Refusal{Reason::handshake_failed, {}, {}};
    bytes_.erase(0, out.size);
    co_return std::nullopt;
  }

  awaitable<std::optional<Refusal>> greet(Intake& intake) {
    Socks5Greeting greeting;
    if (auto refusal = co_await read_message(intake, read_socks5_greeting, greeting)) {
      if (greeting.state == Socks5State::failed) refuse_stranger();
      co_return refusal;
    }
    const bool needed = snapshot_->runtime->users != nullptr && who_.certificates.empty();
    const Socks5Method method = choose_socks5_method(greeting, needed);
    if (method == Socks5Method::unacceptable) {
      reply_ = socks5_method(method);
      co_return Refusal{Reason::handshake_failed, {}, {}};
    }
    with_password_ = method == Socks5Method::password;
    co_return say(socks5_method(method));
  }

  // Not SOCKS5. A browser or curl that was pointed here with the wrong scheme shows HTTP's answer.
  void refuse_stranger() {
    if (bytes_.empty() || std::isupper(static_cast<unsigned char>(bytes_.front())) == 0) return;
    Answer answer;
    answer.reason = Reason::handshake_failed;
    answer.detail = "this port speaks SOCKS5, not HTTP";
    answer.request_id = trace_.record.id;
    answer.node = snapshot_->runtime->node;
    reply_ = render_answer(answer);
  }

  awaitable<std::optional<Refusal>> authenticate(Intake& intake) {
    Socks5Credentials given;
    if (auto refusal = co_await read_message(intake, read_socks5_credentials, given))
      co_return refusal;
    auto user = co_await check_password(core_, snapshot_, who_.source,
                                        {std::move(given.user), std::move(given.password)});
    if (!user) {
      reply_ = socks5_credentials_answer(false);
      co_return std::move(user.error());
    }
    who_.user = std::move(*user);
    co_return say(socks5_credentials_answer(true));
  }

  awaitable<std::optional<Refusal>> read_request(Intake& intake) {
    Socks5Request request;
    auto refusal = co_await read_message(intake, read_socks5_request, request);
    trace_.record.host = request.host;
    trace_.record.port = request.target.port;
    if (request.state == Socks5State::failed) {
      reply_ = socks5_reply(request.error);
      const bool command = request.error == Socks5Reply::command_not_supported;
      co_return Refusal{command ? Reason::method_not_supported : Reason::bad_target,
                        std::move(request.detail),
                        {}};
    }
    target_ = std::move(request.target);
    trace_.record.host = target_.host;
    co_return refusal;
  }

  std::optional<Refusal> enter() {
    auto admission = admit(core_, *snapshot_, who_, target_, Asked::tunnel, trace_);
    if (!admission) return refused(std::move(admission.error()));
    admission_ = std::move(*admission);
    return std::nullopt;
  }

  awaitable<std::optional<Refusal>> connect() {
    UpstreamRequest request;
    request.destination = target_;
    request.exit = admission_.decision.exit;
    request.policy = admission_.decision;
    request.deadline = SteadyClock::now() + snapshot_->settings().timeouts.connect;
    auto upstream = co_await open_upstream(core_, std::move(request), trace_);
    if (!upstream) {
      const Reason reason = upstream.error().reason;
      if (reason == Reason::no_exit || reason == Reason::overloaded ||
          reason == Reason::source_ports_exhausted)
        core_.stats().shed(reason);
      co_return refused(std::move(upstream.error()));
    }
    const SocketAddress bound = local_address(upstream->socket.native_handle());
    ServerCore::Opening opening{
        std::move(client_),        std::move(upstream->socket),
        std::move(bytes_),         socks5_reply(Socks5Reply::succeeded, bound),
        std::move(upstream->exit), std::move(admission_.slot)};
    core_.open_tunnel(std::move(trace_), std::move(opening));
    co_return std::nullopt;
  }

  std::optional<Refusal> refused(Refusal refusal) {
    reply_ = socks5_reply(socks5_reply_of(refusal.reason));
    return refusal;
  }

  // A few bytes into an empty send queue: either they go at once or the client is gone.
  std::optional<Refusal> say(const std::string& words) {
    if (send_some(client_.native_handle(), words) == static_cast<ssize_t>(words.size()))
      return std::nullopt;
    return Refusal{Reason::client_gone, {}, {}};
  }

  awaitable<void> refuse(Refusal refusal) {
    admission_.slot = {};
    if (!reply_.empty() && refusal.reason != Reason::client_gone)
      co_await say_and_leave(core_, client_, std::move(reply_));
    client_.close();
    if (!silent_) core_.finish(trace_, refusal.reason);
  }

  ServerCore& core_;
  std::shared_ptr<const Snapshot> snapshot_;  // one request, one policy
  Descriptor client_;
  Identity who_;
  std::string bytes_;  // read and not yet understood
  Trace trace_;
  std::string reply_;  // to a refused client
  HostPort target_;
  Admission admission_;
  bool with_password_ = false;
  bool silent_ = false;  // nothing was asked: nothing is recorded
};

}  // namespace

awaitable<void> serve_socks5(ServerCore& core, ClientConnection client) {
  Socks5Session session(core, std::move(client));
  co_await session.run();
}

}  // namespace oceanid::proxy
