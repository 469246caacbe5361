#include "proxy/edge/transparent_session.hpp"

#include "proxy/core/first_bytes.hpp"
#include "proxy/edge/admission.hpp"
#include "proxy/edge/intake.hpp"
#include "proxy/edge/upstream.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// Where the server speaks first (SSH, SMTP, databases) the client is silent, and waits for us.
constexpr auto patience_for_first_byte = 300ms;
// Where the client's protocol only looks like HTTP at first.
constexpr auto patience_for_name = 1s;
// For the comparison of name and address, when the connection is there before its outcome.
constexpr auto patience_for_comparison = 250ms;

// Whether a name has an address, found out beside the dialling; shared with its task.
struct Comparison {
  bool ended = false;
  std::string finding;  // empty: the name has the address
  Wakeups changed;
};

awaitable<void> compare(ServerCore& core, ExitChoice exit, std::string name, IpAddress address,
                        std::shared_ptr<Comparison> out) {
  auto resolved = co_await core.resolver_for(exit).resolve(name);
  if (!resolved)
    out->finding = fmt::format("{} does not resolve", name);
  else if (std::ranges::find(*resolved, address) == resolved->end())
    out->finding = fmt::format("{} is not {}", name, address.to_string());
  out->ended = true;
  out->changed.wake_all();
}

class TransparentSession {
 public:
  TransparentSession(ServerCore& core, ClientConnection connection)
      : core_(core),
        snapshot_(core.snapshot()),
        client_(std::move(connection.socket)),
        listener_(std::move(connection.listener)),
        who_{connection.peer.address, {}, {}},
        trace_(core.begin(connection.peer, "transparent")) {}

  awaitable<void> run() {
    std::optional<Refusal> refusal = find_destination();
    if (!refusal) refusal = co_await find_name();
    if (!refusal) refusal = enter();
    if (!refusal) refusal = co_await connect();
    if (refusal) refuse(refusal->reason);
  }

 private:
  std::optional<Refusal> find_destination() {
    if (!client_allowed(*snapshot_, who_.source))
      return Refusal{Reason::client_not_allowed, {}, {}};
    const auto original = original_destination(client_.native_handle(), listener_);
    if (!original) {
      trace_.record.rule = "proxy.listeners.protocol: transparent, but nothing brought this here";
      return Refusal{Reason::bad_target, {}, {}};
    }
    original_ = *original;
    trace_.record.host = original_.address.to_string();
    trace_.record.port = original_.port;
    return std::nullopt;
  }

  // Without a name the address has to do.
  awaitable<std::optional<Refusal>> find_name() {
    const auto& settings = snapshot_->settings();
    const auto start = SteadyClock::now();
    FirstBytes first({settings.limits.head_bytes, settings.limits.head_fields});
    Intake intake(core_, client_, who_.source, start + patience_for_first_byte);
    Reason reason = Reason::ok;
    for (bool more = true; more && reason == Reason::ok;) {
      const std::size_t before = early_.size();
      reason = co_await intake.read(early_);
      if (reason != Reason::ok) break;
      more = first.feed(std::string_view(early_).substr(before));
      const std::chrono::milliseconds patience =
          first.is_tls() ? settings.timeouts.head : milliseconds(patience_for_name);
      intake.set_deadline(start + patience);
    }
    if (reason == Reason::overloaded || (reason == Reason::client_gone && early_.empty()))
      co_return Refusal{reason, {}, {}};
    name_ = first.name();
    if (!name_.empty()) trace_.record.host = name_;
    co_return std::nullopt;
  }

  std::optional<Refusal> enter() {
    auto admission = admit(core_, *snapshot_, who_, {trace_.record.host, original_.port},
                           Asked::intercepted, trace_);
    if (!admission) return std::move(admission.error());
    admission_ = std::move(*admission);
    return std::nullopt;
  }

  awaitable<std::optional<Refusal>> connect() {
    const auto comparison = start_comparison();
    UpstreamRequest request;
    request.destination = {original_.address.to_string(), original_.port};
    request.exit = admission_.decision.exit;
    request.policy = admission_.decision;
    request.deadline = SteadyClock::now() + snapshot_->settings().timeouts.connect;
    auto upstream = co_await open_upstream(core_, std::move(request), trace_);
    if (upstream && comparison && !comparison->ended)
      co_await Wakeups::sleep(core_.io(), comparison->changed,
                              SteadyClock::now() + patience_for_comparison);
    if (comparison && !comparison->finding.empty())
      trace_.record.rule = fmt::format("mismatch: {}; {}", comparison->finding, trace_.record.rule);
    if (!upstream) co_return std::move(upstream.error());
    ServerCore::Opening opening{std::move(client_),        std::move(upstream->socket),
                                std::move(early_),         {},
                                std::move(upstream->exit), std::move(admission_.slot)};
    core_.open_tunnel(std::move(trace_), std::move(opening));
    co_return std::nullopt;
  }

  std::shared_ptr<Comparison> start_comparison() {
    if (name_.empty()) return nullptr;
    auto exit = choose_exit(snapshot_->runtime->exits.get(), snapshot_->runtime->exits_configured,
                            admission_.decision.exit);
    if (!exit) return nullptr;
    auto out = std::make_shared<Comparison>();
    core_.tasks().spawn("name of an intercepted connection",
                        compare(core_, std::move(*exit), name_, original_.address, out));
    return out;
  }

  void refuse(Reason reason) {
    admission_.slot = {};
    reset_on_close(client_.native_handle());
    client_.close();
    if (reason != Reason::client_gone || !early_.empty()) core_.finish(trace_, reason);
  }

  ServerCore& core_;
  std::shared_ptr<const Snapshot> snapshot_;
  Descriptor client_;
  ListenerSettings listener_;
  Identity who_;
  Trace trace_;
  SocketAddress original_;
  std::string early_;
  std::string name_;
  Admission admission_;
};

}  // namespace

awaitable<void> serve_transparent(ServerCore& core, ClientConnection client) {
  TransparentSession session(core, std::move(client));
  co_await session.run();
}

}  // namespace oceanid::proxy
