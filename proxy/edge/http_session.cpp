#include "proxy/edge/http_session.hpp"

#include "proxy/core/request_head.hpp"
#include "proxy/core/target.hpp"
#include "proxy/edge/admission.hpp"
#include "proxy/edge/credentials.hpp"
#include "proxy/edge/upstream.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// A refused client gets this long, and this much of what it still sends is thrown away, so that it
// reads the answer: closing with unread bytes would send a reset that overtakes it.
constexpr auto linger_time = 2s;
constexpr std::size_t linger_bytes = 256 << 10;

std::string decoded_host(const Result<HostPort>& target, const std::string& raw) {
  return target ? target->host : raw;
}

class HttpSession {
 public:
  HttpSession(ServerCore& core, ClientConnection connection)
      : core_(core),
        snapshot_(core.snapshot()),
        client_(std::move(connection.socket)),
        peer_(connection.peer),
        who_{connection.peer.address, {}, std::move(connection.certificates)},
        timer_(core.io().get_executor()),
        seat_(core.lobby().enter(peer_.address,
                                 [fd = client_.native_handle()] { stop_reading(fd); })),
        trace_(core.begin(connection.peer, {})) {}

  awaitable<void> run() {
    std::optional<Refusal> refusal;
    if (!client_allowed(*snapshot_, peer_.address))
      refusal = Refusal{Reason::client_not_allowed, {}, {}};
    else
      refusal = co_await read_head();
    if (!refusal) refusal = check_request();
    if (!refusal) refusal = co_await identify();
    if (!refusal) refusal = enter();
    if (!refusal) refusal = co_await connect();
    if (refusal) co_await refuse(std::move(*refusal));
  }

 private:
  awaitable<std::optional<Refusal>> read_head() {
    const ProxySettings& settings = *snapshot_->runtime->proxy;
    HeadParser parser({settings.limits.head_bytes, settings.limits.head_fields});
    const auto deadline = trace_.started + settings.timeouts.head;
    for (;;) {
      const auto scratch = core_.pool().scratch();
      const ssize_t got = recv_some(client_.native_handle(), scratch.data(), scratch.size());
      if (got == -EAGAIN) {
        if (co_await wait_until_ready(client_, Descriptor::wait_read, timer_, deadline)) continue;
        silent_ = !parser.started();
        co_return Refusal{Reason::head_timeout, {}, {}};
      }
      if (got <= 0 && seat_.evicted()) {
        core_.stats().shed(Reason::overloaded);
        co_return Refusal{Reason::overloaded, "too many connections wait without a request", {}};
      }
      if (got <= 0) {
        // A connection that came and went without a word is a port check, not a request.
        silent_ = !parser.started();
        co_return Refusal{Reason::client_gone, {}, {}};
      }
      const std::string_view bytes(scratch.data(), static_cast<std::size_t>(got));
      seat_.grow(bytes.size());
      switch (parser.feed(bytes)) {
        case HeadParser::State::need_more:
          break;
        case HeadParser::State::done:
          early_ = bytes.substr(parser.consumed_of_last_feed());
          head_ = parser.take_head();
          seat_.leave();
          co_return std::nullopt;
        case HeadParser::State::failed:
          co_return Refusal{reason_of(parser.error()), std::string(describe(parser.error())), {}};
      }
    }
  }

  std::optional<Refusal> check_request() {
    trace_.record.method = head_.method;
    if (head_.method != "CONNECT")
      return Refusal{Reason::method_not_supported,
                     "only CONNECT is supported; plain HTTP forwarding is not in this version",
                     {}};
    auto target = parse_authority(head_.target);
    trace_.record.host = decoded_host(target, head_.target);
    if (!target) return Refusal{Reason::bad_target, target.error().what, {}};
    target_ = std::move(*target);
    trace_.record.port = target_.port;
    const std::string* host = head_.find("host");
    if (host != nullptr && !is_host_field(*host)) return Refusal{Reason::bad_host, {}, {}};
    return std::nullopt;
  }

  awaitable<std::optional<Refusal>> identify() {
    const std::string* field = head_.find("proxy-authorization");
    auto user = co_await authenticate(core_, snapshot_, who_,
                                      field == nullptr ? std::nullopt : std::optional(*field));
    if (!user) co_return std::move(user.error());
    who_.user = std::move(*user);
    co_return std::nullopt;
  }

  std::optional<Refusal> enter() {
    auto admission = admit(core_, *snapshot_, who_, target_, Asked::tunnel, trace_);
    if (!admission) return std::move(admission.error());
    admission_ = std::move(*admission);
    return std::nullopt;
  }

  awaitable<std::optional<Refusal>> connect() {
    UpstreamRequest request;
    request.destination = target_;
    request.exit = admission_.decision.exit;
    request.policy = admission_.decision;
    request.deadline = SteadyClock::now() + snapshot_->runtime->proxy->timeouts.connect;
    auto upstream = co_await open_upstream(core_, std::move(request), trace_);
    if (!upstream) {
      const Reason reason = upstream.error().reason;
      if (reason == Reason::no_exit || reason == Reason::overloaded ||
          reason == Reason::source_ports_exhausted)
        core_.stats().shed(reason);
      co_return std::move(upstream.error());
    }
    trace_.record.status = status_of(Reason::ok);
    ServerCore::Opening opening{std::move(client_),
                                std::move(upstream->socket),
                                std::move(early_),
                                render_connected(upstream->address.to_string(), trace_.record.id),
                                std::move(upstream->exit),
                                std::move(admission_.slot)};
    core_.open_tunnel(std::move(trace_), std::move(opening));
    co_return std::nullopt;
  }

  awaitable<void> refuse(Refusal refusal) {
    admission_.slot = {};
    if (refusal.reason != Reason::client_gone) {
      Answer answer;
      answer.reason = refusal.reason;
      answer.request_id = trace_.record.id;
      answer.detail = std::move(refusal.detail);
      answer.next_hop = std::move(refusal.next_hop);
      answer.node = snapshot_->runtime->node;
      answer.json = wants_json(head_);
      trace_.record.status = status_of(refusal.reason);
      co_await send_and_linger(render_answer(answer));
    }
    seat_.leave();  // before its descriptor can be another's
    client_.close();
    if (!silent_) core_.finish(trace_, refusal.reason);
  }

  awaitable<void> send_and_linger(std::string answer) {
    const auto deadline = SteadyClock::now() + linger_time;
    std::string_view rest = answer;
    while (!rest.empty()) {
      const ssize_t sent = send_some(client_.native_handle(), rest);
      if (sent >= 0) {
        rest.remove_prefix(static_cast<std::size_t>(sent));
      } else if (sent != -EAGAIN ||
                 !co_await wait_until_ready(client_, Descriptor::wait_write, timer_, deadline)) {
        co_return;
      }
    }
    finish_sending(client_.native_handle());
    std::size_t thrown_away = 0;
    while (thrown_away < linger_bytes) {
      const auto scratch = core_.pool().scratch();
      const ssize_t got = recv_some(client_.native_handle(), scratch.data(), scratch.size());
      if (got > 0) {
        thrown_away += static_cast<std::size_t>(got);
      } else if (got != -EAGAIN ||
                 !co_await wait_until_ready(client_, Descriptor::wait_read, timer_, deadline)) {
        co_return;
      }
    }
  }

  ServerCore& core_;
  std::shared_ptr<const Snapshot> snapshot_;  // one request, one policy
  Descriptor client_;
  SocketAddress peer_;
  Identity who_;
  Timer timer_;
  Lobby::Seat seat_;  // until the head is read
  Trace trace_;
  RequestHead head_;
  std::string early_;
  HostPort target_;
  Admission admission_;
  bool silent_ = false;  // nothing was asked: nothing is recorded
};

}  // namespace

awaitable<void> serve_http(ServerCore& core, ClientConnection client) {
  HttpSession session(core, std::move(client));
  co_await session.run();
}

}  // namespace oceanid::proxy
