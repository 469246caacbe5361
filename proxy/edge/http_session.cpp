#include "proxy/edge/http_session.hpp"

#include "proxy/core/forward_head.hpp"
#include "proxy/core/http_fields.hpp"
#include "proxy/core/message_framing.hpp"
#include "proxy/core/request_head.hpp"
#include "proxy/core/target.hpp"
#include "proxy/edge/admission.hpp"
#include "proxy/edge/content_drain.hpp"
#include "proxy/edge/credentials.hpp"
#include "proxy/edge/http_exchange.hpp"
#include "proxy/edge/intake.hpp"
#include "proxy/edge/upstream.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// A client gets this long to take our own answer to a request after which it may ask again.
constexpr auto answer_time = 2s;

// How long a client may keep its connection open between two plain requests.
constexpr auto between_requests = 60s;

// While a client is between two requests: the end of the gateway need not wait for it.
class IdleMark {
 public:
  IdleMark(ServerCore& core, int fd) : core_(core), fd_(fd) {
    if (fd_ >= 0) core_.idle_clients().insert(fd_);
  }
  ~IdleMark() {
    if (fd_ >= 0) core_.idle_clients().erase(fd_);
  }
  IdleMark(const IdleMark&) = delete;
  IdleMark& operator=(const IdleMark&) = delete;

 private:
  ServerCore& core_;
  int fd_;
};

std::string decoded_host(const Result<HostPort>& target, const std::string& raw) {
  return target ? target->host : raw;
}

class HttpSession {
 public:
  HttpSession(ServerCore& core, ClientConnection connection)
      : core_(core),
        snapshot_(core.snapshot()),
        client_(std::move(connection.socket)),
        early_(std::move(connection.early)),
        peer_(connection.peer),
        who_{connection.peer.address, {}, std::move(connection.certificates)},
        timer_(core.io().get_executor()),
        seat_(core.lobby().enter(peer_.address,
                                 [fd = client_.native_handle()] { stop_reading(fd); })),
        trace_(core.begin(connection.peer, {})) {}

  awaitable<void> run() {
    std::optional<Refusal> refusal;
    do {
      if (!client_allowed(*snapshot_, peer_.address))
        refusal = Refusal{Reason::client_not_allowed, {}, {}};
      else
        refusal = co_await read_head();
      if (!refusal) {
        trace_.record.method = head_.method;
        if (head_.method == "CONNECT") {
          refusal = co_await tunnel();
        } else {
          content_ = RequestContent(head_);
          refusal = co_await forward();
          if (refusal && leaves_connection(refusal->reason) && co_await may_stay())
            co_await refuse_and_stay(*std::exchange(refusal, std::nullopt));
        }
      }
    } while (!refusal && reusable_ && next_request());
    if (refusal) co_await refuse(std::move(*refusal));
  }

 private:
  // Between two requests the client may be silent for a while; a request that has begun may not.
  awaitable<std::optional<Refusal>> read_head() {
    const ProxySettings& settings = snapshot_->settings();
    HeadParser parser({settings.limits.head_bytes, settings.limits.head_fields});
    auto deadline = trace_.started + (served_ == 0 ? settings.timeouts.head : between_requests);
    for (;;) {
      if (early_.empty()) {
        auto wrong = co_await read_some(parser.started(), deadline);
        if (wrong) co_return wrong;
      }
      if (served_ > 0 && !parser.started()) {
        trace_ = core_.begin(peer_, {});
        deadline = trace_.started + settings.timeouts.head;
      }
      seat_.grow(early_.size());
      const auto state = parser.feed(early_);
      early_.erase(0, parser.consumed_of_last_feed());
      if (state == HeadParser::State::need_more) continue;
      if (state == HeadParser::State::failed)
        co_return Refusal{reason_of(parser.error()), std::string(describe(parser.error())), {}};
      head_ = parser.take_head();
      seat_.leave();
      co_return std::nullopt;
    }
  }

  awaitable<std::optional<Refusal>> read_some(bool started, SteadyClock::time_point deadline) {
    const IdleMark idle(core_, served_ > 0 && !started ? client_.native_handle() : -1);
    for (;;) {
      const auto scratch = core_.pool().scratch();
      const ssize_t got = recv_some(client_.native_handle(), scratch.data(), scratch.size());
      if (got > 0) {
        early_.assign(scratch.data(), static_cast<std::size_t>(got));
        co_return std::nullopt;
      }
      if (got == -EAGAIN) {
        if (co_await wait_until_ready(client_, Descriptor::wait_read, timer_, deadline)) continue;
        silent_ = !started;
        co_return Refusal{
            served_ > 0 && !started ? Reason::client_gone : Reason::head_timeout, {}, {}};
      }
      if (seat_.evicted() && (started || served_ == 0)) {
        core_.stats().shed(Reason::overloaded);
        co_return Refusal{Reason::overloaded, "too many connections wait without a request", {}};
      }
      // A connection that came and went without a word is a port check, not a request.
      silent_ = !started;
      co_return Refusal{Reason::client_gone, {}, {}};
    }
  }

  // Ready for the client's next request on this connection.
  bool next_request() {
    ++served_;
    snapshot_ = core_.snapshot();
    trace_ = core_.begin(peer_, {});
    head_ = {};
    content_ = {};
    admission_ = {};
    who_.user.clear();
    reusable_ = false;
    seat_ =
        core_.lobby().enter(peer_.address, [fd = client_.native_handle()] { stop_reading(fd); });
    return !core_.draining();
  }

  awaitable<std::optional<Refusal>> tunnel() {
    std::optional<Refusal> refusal = check_request();
    if (!refusal) refusal = co_await identify();
    if (!refusal) refusal = enter(Asked::tunnel);
    if (!refusal) refusal = co_await connect();
    co_return refusal;
  }

  awaitable<std::optional<Refusal>> forward() {
    if (is_for_us(head_)) {
      co_await answer_ourselves();
      co_return std::nullopt;
    }
    auto target = parse_absolute(head_.target, head_.method);
    if (!target)
      co_return Refusal{target.error().code == Errc::unsupported ? Reason::scheme_not_supported
                                                                 : Reason::bad_target,
                        target.error().what,
                        {}};
    target_ = target->destination;
    trace_.record.host = target_.host;
    trace_.record.port = target_.port;
    if (is_loop(head_, pseudonym_of(*snapshot_->runtime)))
      co_return Refusal{Reason::loop_detected, {}, {}};
    std::optional<Refusal> refusal = co_await identify();
    if (!refusal) refusal = enter(Asked::plain_http);
    if (refusal) co_return refusal;
    co_return co_await exchange(*target);
  }

  awaitable<std::optional<Refusal>> exchange(const AbsoluteTarget& target) {
    HttpExchange exchange(core_, *snapshot_, client_, early_,
                          {head_, target, content_, admission_.slot.throttle()}, trace_);
    auto end = co_await exchange.run(upstream_request());
    if (end.refusal) {
      count_shed(end.refusal->reason);
      co_return std::move(end.refusal);
    }
    if (end.switched) {
      ServerCore::Opening opening{std::move(client_),          std::move(end.origin->socket),
                                  std::move(early_),           std::move(end.greeting),
                                  std::move(end.origin->exit), std::move(admission_.slot)};
      core_.open_tunnel(std::move(trace_), std::move(opening));
      co_return std::nullopt;
    }
    trace_.record.closed_by = end.reason == Reason::ok ? "server" : "proxy";
    core_.finish(trace_, end.reason);
    admission_ = {};
    reusable_ = end.client_reusable && !core_.draining();
    if (end.reason != Reason::ok)
      break_client();
    else if (!reusable_)
      co_await say_and_leave(core_, client_, {});
    if (!reusable_) client_.close();
    co_return std::nullopt;
  }

  // Half a response must not look like a whole one.
  void break_client() {
    if (const auto wire = core_.wires().find(client_.native_handle())) wire->reset = true;
    reset_on_close(client_.native_handle());
  }

  // TRACE and OPTIONS for the proxy itself (RFC 9110 sections 9.3.7, 9.3.8 and 7.6.2).
  awaitable<void> answer_ourselves() {
    const bool stays = co_await may_stay();
    trace_.record.status = 200;
    co_await say(render_own_answer(head_, stays), stays);
    core_.finish(trace_, Reason::ok);
  }

  // Whether the client may ask again after our own answer to a plain request (RFC 9112 section
  // 9.3). That takes the rest of its content, where it is short; a client that waits for a word
  // before it sends it may take the answer as one and never send it.
  awaitable<bool> may_stay() {
    if (!keeps_alive(head_) || core_.draining()) co_return false;
    co_return content_.whole() || (!expects_continue(head_) &&
                                   co_await drain(client_, core_.pool(), timer_, early_, content_));
  }

  awaitable<void> say(std::string answer, bool stays) {
    if (stays)
      reusable_ = co_await send_all(client_, std::move(answer), timer_, answer_time);
    else
      co_await say_and_leave(core_, client_, std::move(answer));
    if (!reusable_) client_.close();
  }

  awaitable<void> refuse_and_stay(Refusal refusal) {
    admission_ = {};
    const Reason reason = refusal.reason;
    co_await say(words_for(std::move(refusal), true), true);
    core_.finish(trace_, reason);
  }

  std::optional<Refusal> check_request() {
    auto target = parse_authority(head_.target);
    trace_.record.host = decoded_host(target, head_.target);
    if (!target) return Refusal{Reason::bad_target, target.error().what, {}};
    target_ = std::move(*target);
    trace_.record.port = target_.port;
    const std::string* host = head_.find("host");
    if (host != nullptr && !is_host_field(*host)) return Refusal{Reason::bad_host, {}, {}};
    if (is_loop(head_, pseudonym_of(*snapshot_->runtime)))
      return Refusal{Reason::loop_detected, {}, {}};
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

  std::optional<Refusal> enter(Asked how) {
    auto admission = admit(core_, *snapshot_, who_, target_, how, trace_);
    if (!admission) return std::move(admission.error());
    admission_ = std::move(*admission);
    return std::nullopt;
  }

  UpstreamRequest upstream_request() const {
    UpstreamRequest request;
    request.destination = target_;
    request.exit = admission_.decision.exit;
    request.policy = admission_.decision;
    request.via = fmt::format("{}", fmt::join(values_of(head_.fields, "via"), ", "));
    request.deadline = SteadyClock::now() + snapshot_->settings().timeouts.connect;
    return request;
  }

  void count_shed(Reason reason) {
    if (reason == Reason::no_exit || reason == Reason::overloaded ||
        reason == Reason::source_ports_exhausted)
      core_.stats().shed(reason);
  }

  awaitable<std::optional<Refusal>> connect() {
    auto upstream = co_await open_upstream(core_, upstream_request(), trace_);
    if (!upstream) {
      count_shed(upstream.error().reason);
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
    const Reason reason = refusal.reason;
    if (reason != Reason::client_gone)
      co_await say_and_leave(core_, client_, words_for(std::move(refusal), false));
    seat_.leave();  // before its descriptor can be another's
    client_.close();
    if (!silent_) core_.finish(trace_, reason);
  }

  std::string words_for(Refusal refusal, bool stays) {
    Answer answer;
    answer.reason = refusal.reason;
    answer.request_id = trace_.record.id;
    answer.detail = std::move(refusal.detail);
    answer.next_hop = std::move(refusal.next_hop);
    answer.retry_after = refusal.retry_after;
    answer.received_status = refusal.received_status;
    answer.node = snapshot_->runtime->node;
    answer.json = wants_json(head_);
    answer.keep_alive = stays;
    trace_.record.status = status_of(refusal.reason);
    std::string text = render_answer(answer);
    if (head_.method == "HEAD") text.resize(text.find("\r\n\r\n") + 4);  // it has no content
    return text;
  }

  ServerCore& core_;
  std::shared_ptr<const Snapshot> snapshot_;  // one request, one policy
  Descriptor client_;
  std::string early_;  // received and not yet looked at
  SocketAddress peer_;
  Identity who_;
  Timer timer_;
  Lobby::Seat seat_;  // until the head is read
  Trace trace_;
  RequestHead head_;
  RequestContent content_;
  HostPort target_;
  Admission admission_;
  std::uint32_t served_ = 0;  // plain requests on this connection, before this one
  bool reusable_ = false;     // the client may ask again
  bool silent_ = false;       // nothing was asked: nothing is recorded
};

}  // namespace

awaitable<void> serve_http(ServerCore& core, ClientConnection client) {
  HttpSession session(core, std::move(client));
  co_await session.run();
}

}  // namespace oceanid::proxy
