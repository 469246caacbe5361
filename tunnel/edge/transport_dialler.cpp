#include "tunnel/edge/transport_dialler.hpp"

#include "tunnel/edge/deadline.hpp"
#include "tunnel/edge/tls_handshake.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <sys/random.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto dial_patience = 5s;  // for TCP, the proxy, TLS and the hellos together
constexpr std::chrono::milliseconds first_pause = 100ms;
constexpr std::chrono::milliseconds longest_pause = 5s;
constexpr auto settled = 10s;  // a connection that lived so long is dialled again without delay

}  // namespace

Result<std::unique_ptr<TransportDialler>> TransportDialler::make(
    const asio::any_io_executor& executor, DialSettings settings, UniqueFd udp,
    TransportHost& host) {
  auto context = make_dialling_context(settings.material);
  if (!context) return std::unexpected(std::move(context.error()).context("peer " + settings.peer));
  SessionId session{};
  if (::getrandom(session.data(), session.size(), 0) != static_cast<ssize_t>(session.size()))
    return fail_errno("asking the kernel for random bytes");
  return std::unique_ptr<TransportDialler>(new TransportDialler(
      executor, std::move(settings), std::move(udp), host, std::move(*context), session));
}

TransportDialler::TransportDialler(const asio::any_io_executor& executor, DialSettings settings,
                                   UniqueFd udp, TransportHost& host, SslContext context,
                                   SessionId session)
    : executor_(executor),
      settings_(std::move(settings)),
      host_(host),
      context_(std::move(context)),
      session_id_(session),
      session_(executor, std::move(udp)),
      reach_(executor, settings_.peer, settings_.key, host),
      change_(executor),
      tasks_(executor) {
  change_.expires_at(asio::steady_timer::time_point::max());
}

void TransportDialler::start() {
  tasks_.spawn("shim", session_.run());
  for (const Transport rung : {Transport::udp, Transport::udp_443})
    tasks_.spawn("UDP probes", reach_.run(rung));
  for (std::size_t i = 0; i < settings_.connections; ++i) {
    tasks_.spawn("TLS to a peer", keep(Transport::tls, i));
    if (!settings_.proxy_target.empty()) tasks_.spawn("TLS to a peer", keep(Transport::proxied, i));
  }
}

void TransportDialler::order(const Orders& orders) {
  orders_ = orders;
  session_.set_deaf(orders.deaf);
  reach_.set_interval(orders.probe_every);
  change_.cancel();
}

awaitable<void> TransportDialler::stop() {
  orders_ = {};
  session_.stop();
  reach_.stop();
  co_await tasks_.stop();
}

bool TransportDialler::wanted(Transport rung) const {
  return rung == Transport::tls ? orders_.dial_tls : orders_.dial_proxied;
}

awaitable<void> TransportDialler::changed() {
  auto [ec] = co_await change_.async_wait(as_result);
  static_cast<void>(ec);  // cancelled is how it is woken
}

// One connection, again and again. The first one proves the way before the others are dialled.
awaitable<void> TransportDialler::keep(Transport rung, std::size_t number) {
  using boost::asio::experimental::awaitable_operators::operator||;
  thread_local std::minstd_rand random(std::random_device{}());
  std::chrono::milliseconds pause = first_pause;
  for (;;) {
    while (!wanted(rung) || (number > 0 && links_of(rung) == 0)) {
      pause = first_pause;
      co_await changed();
    }
    const auto began = std::chrono::steady_clock::now();
    auto link = co_await dial(rung);
    std::string& told = trouble_[index_of(rung)];
    if (link) {
      told.clear();
      co_await serve(rung, *link);
    } else if (number == 0 && wanted(rung) && link.error().what != told) {
      told = link.error().what;
      host_.on_trouble(settings_.peer, rung, told);
    }
    if (!wanted(rung)) continue;
    if (link && std::chrono::steady_clock::now() - began >= settled) pause = first_pause;
    // Jitter, or all peers of an exit that restarts would dial it in step.
    std::uniform_int_distribution<std::int64_t> jitter(0, pause.count() / 2);
    co_await sleep_for(pause / 2 + std::chrono::milliseconds(jitter(random)));
    pause = std::min(pause * 2, longest_pause);
  }
}

awaitable<Result<std::shared_ptr<ShimLink>>> TransportDialler::dial(Transport rung) {
  auto fd = co_await host_.socket(
      rung == Transport::tls ? SocketPurpose::tls : SocketPurpose::proxied, settings_.peer);
  if (!fd) co_return std::unexpected(std::move(fd.error()));
  // Not an optional of a Result: the deadline's own helper wants a type that can be empty.
  using Outcome = std::optional<Result<std::shared_ptr<ShimLink>>>;
  Outcome outcome;
  constexpr auto attempt = [](TransportDialler& self, Transport to, UniqueFd by,
                              Outcome& found) -> awaitable<bool> {
    found = co_await self.open(to, std::move(by));
    co_return true;
  };
  if (!co_await with_deadline(attempt(*this, rung, std::move(*fd), outcome), dial_patience) ||
      !outcome)
    co_return fail(Errc::timeout, "no answer within 5 s");
  co_return std::move(*outcome);
}

awaitable<Result<std::shared_ptr<ShimLink>>> TransportDialler::open(Transport rung, UniqueFd fd) {
  ShimLink::Descriptor socket(executor_, fd.release());
  auto done = co_await connected(socket);
  if (done && rung == Transport::proxied)
    done = co_await ask_proxy(socket, settings_.proxy_target, settings_.authorization);
  if (!done) co_return std::unexpected(std::move(done.error()));
  auto ssl = dialling(context_.get(), socket.native_handle(), settings_.host);
  if (!ssl) co_return std::unexpected(std::move(ssl.error()));
  done = co_await handshake(socket, ssl->get());
  if (!done) co_return std::unexpected(std::move(done.error()));
  co_return co_await prove_as_dialler(std::move(socket), std::move(*ssl), settings_.key,
                                      session_id_);
}

awaitable<void> TransportDialler::serve(Transport rung, std::shared_ptr<ShimLink> link) {
  using boost::asio::experimental::awaitable_operators::operator||;
  struct Counted {
    TransportDialler& self;
    Transport rung;
    Counted(TransportDialler& owner, Transport of) : self(owner), rung(of) { change(1); }
    ~Counted() { change(-1); }
    void change(int by) const {
      self.links_of(rung) += static_cast<std::size_t>(by);
      self.host_.on_links(self.settings_.peer, rung, self.links_of(rung));
      self.change_.cancel();
    }
  };
  const Counted counted(*this, rung);
  constexpr auto unwanted = [](TransportDialler& self, Transport of) -> awaitable<void> {
    while (self.wanted(of))
      co_await self.changed();
  };
  co_await (session_.serve(std::move(link)) || unwanted(*this, rung));
}

}  // namespace oceanid::tunnel
