#include "proxy/edge/parent_dialer.hpp"

#include "proxy/core/parent_connect.hpp"
#include "proxy/edge/upstream_steps.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// How often the wait for the parent's answer looks whether the exit is still there.
constexpr auto glance = 250ms;

// A parent that is one of our own listeners: a connection to an address of this very host, that a
// listener of ours takes. Otherwise each request would come back to us until something is used up.
bool is_ourselves(const ServerCore& core, Dialed& dialed) {
  if (local_address(dialed.socket.native_handle()).address != dialed.address.address) return false;
  const auto snapshot = core.snapshot();
  return std::ranges::any_of(snapshot->settings().listeners, [&](const ListenerSettings& one) {
    const IpAddress& bound = one.bind.address;
    return one.bind.port == dialed.address.port &&
           (bound == dialed.address.address ||
            (bound.is_unspecified() && (!bound.is_v4() || dialed.address.address.is_v4())));
  });
}

class Question {
 public:
  Question(ServerCore& core, Dialed& dialed, const ExitChoice& exit,
           SteadyClock::time_point deadline)
      : core_(core),
        fd_(dialed.socket),
        exit_(exit),
        deadline_(deadline),
        timer_(core.io().get_executor()) {}

  awaitable<std::optional<Refusal>> ask(std::string request) {
    if (auto refusal = co_await say(std::move(request))) co_return refusal;
    ResponseHead answer;
    do {
      if (auto refusal = co_await hear(answer)) co_return refusal;
    } while (answer.status / 100 == 1 && answer.status != 101);
    co_return refusal_of_parent(answer);
  }

 private:
  awaitable<std::optional<Refusal>> say(std::string request) {
    std::string_view rest = request;
    while (!rest.empty()) {
      const ssize_t sent = send_some(fd_.native_handle(), rest);
      if (sent >= 0)
        rest.remove_prefix(static_cast<std::size_t>(sent));
      else if (sent != -EAGAIN)
        co_return broken(static_cast<int>(-sent));
      else if (auto refusal = co_await wait(Descriptor::wait_write))
        co_return refusal;
    }
    co_return std::nullopt;
  }

  // Takes exactly one head out of the socket: what is behind it belongs to the tunnel, and stays
  // for the relay.
  awaitable<std::optional<Refusal>> hear(ResponseHead& out) {
    const Limits limits = core_.snapshot()->settings().limits;
    ResponseParser parser({limits.head_bytes, limits.head_fields});
    for (;;) {
      const auto scratch = core_.pool().scratch();
      const ssize_t got = peek_some(fd_.native_handle(), scratch.data(), scratch.size());
      if (got == -EAGAIN) {
        if (auto refusal = co_await wait(Descriptor::wait_read)) co_return refusal;
        continue;
      }
      if (got < 0) co_return broken(static_cast<int>(-got));
      if (got == 0)
        co_return Refusal{Reason::parent_bad_answer,
                          parser.started() ? "the parent proxy's answer ended within its head"
                                           : "the parent proxy closed without an answer",
                          {}};
      const auto state = parser.feed({scratch.data(), static_cast<std::size_t>(got)});
      static_cast<void>(
          recv_some(fd_.native_handle(), scratch.data(), parser.consumed_of_last_feed()));
      if (state == ResponseParser::State::failed)
        co_return Refusal{
            Reason::parent_bad_answer, fmt::format("the parent proxy: {}", parser.fault()), {}};
      if (state == ResponseParser::State::need_more) continue;
      out = parser.take_head();
      co_return std::nullopt;
    }
  }

  awaitable<std::optional<Refusal>> wait(Descriptor::wait_type what) {
    for (;;) {
      const auto until = std::min(SteadyClock::now() + glance, deadline_);
      const bool ready = co_await wait_until_ready(fd_, what, timer_, until);
      if (exit_died(core_, exit_))
        co_return Refusal{Reason::no_exit, "the exit failed while connecting", {}};
      if (ready) co_return std::nullopt;
      if (SteadyClock::now() >= deadline_)
        co_return Refusal{
            Reason::parent_timeout, "the parent proxy did not answer CONNECT in time", {}};
    }
  }

  static Refusal broken(int error) {
    const Reason reason = reason_of_errno(error);
    return {reason == Reason::internal_error ? Reason::connection_reset : reason,
            "the parent proxy ended the connection without an answer",
            {}};
  }

  ServerCore& core_;
  Descriptor& fd_;
  const ExitChoice& exit_;
  SteadyClock::time_point deadline_;
  Timer timer_;
};

}  // namespace

awaitable<std::optional<Refusal>> clear_for_parent(ServerCore& core, UpstreamRequest request,
                                                   ExitChoice exit, Trace& trace) {
  const auto resolved = co_await resolve_destination(core, request, exit, trace);
  if (resolved) {
    auto judged = judge_addresses(core, request, *resolved, Needed::all, trace);
    if (judged) co_return std::nullopt;
    co_return std::move(judged.error());
  }
  const AddressVerdict said =
      request.policy ? request.policy->judge_unresolved() : AddressVerdict();
  if (said.reported) trace.record.verdict = "report";
  if (said.allowed) co_return std::nullopt;
  trace.record.rule = said.rule;
  co_return Refusal{
      said.reason,
      fmt::format("refused by {}: the name has no address here, and no rule allows the name itself",
                  said.rule),
      {}};
}

awaitable<std::expected<Upstream, Refusal>> try_parent(ServerCore& core, UpstreamRequest request,
                                                       ParentProxy parent, ExitChoice exit,
                                                       Trace& trace) {
  const auto began = SteadyClock::now();
  auto resolved = co_await core.resolver_for(exit).resolve(parent.at.resolver_name());
  if (!resolved)
    co_return std::unexpected(
        Refusal{resolved.error().reason, std::move(resolved.error().detail), {}});
  std::vector<SocketAddress> addresses;
  for (const IpAddress& address : *resolved)
    addresses.push_back({address, parent.at.port});
  auto dialed = co_await dial_by(core, exit, std::move(addresses), request.deadline);
  if (!dialed) {
    DialFailure& failure = dialed.error();
    const std::string next_hop = failure.address ? failure.address->to_string() : std::string();
    trace.record.address = next_hop;
    co_return std::unexpected(Refusal{failure.reason, std::move(failure.detail), next_hop});
  }
  trace.record.address = dialed->address.to_string();
  if (is_ourselves(core, *dialed))
    co_return std::unexpected(Refusal{Reason::loop_detected,
                                      "the parent proxy is this gateway itself (proxy.parent)",
                                      trace.record.address});
  Question question(core, *dialed, exit, request.deadline);
  auto refusal = co_await question.ask(render_parent_connect(
      parent, request.destination, request.via, pseudonym_of(*core.snapshot()->runtime)));
  if (refusal) {
    refusal->next_hop = trace.record.address;
    co_return std::unexpected(std::move(*refusal));
  }
  note_connected(core, trace, began);
  co_return Upstream{std::move(dialed->socket), dialed->address, std::move(exit)};
}

bool parent_answered(Reason reason) {
  return reason == Reason::ok || reason == Reason::parent_auth || reason == Reason::parent_denied ||
         reason == Reason::parent_failed || reason == Reason::parent_unavailable;
}

Refusal as_parents(Refusal refusal, const ParentProxy& parent) {
  switch (refusal.reason) {
    case Reason::dns_error:
    case Reason::dns_timeout:
    case Reason::connection_refused:
    case Reason::connection_reset:
    case Reason::connection_timeout:
    case Reason::destination_unreachable:
      break;
    default:
      return refusal;
  }
  refusal.detail =
      fmt::format("the parent proxy {}: {}", parent.at.to_string(),
                  refusal.detail.empty() ? row_of(refusal.reason).meaning : refusal.detail);
  refusal.reason = Reason::parent_unreachable;
  return refusal;
}

}  // namespace oceanid::proxy
