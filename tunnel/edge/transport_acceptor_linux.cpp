#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/socket_address.hpp"
#include "tunnel/edge/deadline.hpp"
#include "tunnel/edge/tls_handshake.hpp"
#include "tunnel/edge/transport_acceptor.hpp"
#include "tunnel/edge/transport_keys.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Descriptor = ShimLink::Descriptor;

constexpr auto accept_pause = 100ms;  // when there are no descriptors left
constexpr auto sweep_interval = 1s;
constexpr unsigned accepts_per_turn = 16;
constexpr std::size_t ipv6_site_bytes = 8;

// Strangers are counted by this: an IPv6 host has a /64 to call from.
std::string origin(const NativeAddress& native) {
  static constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const auto from = from_native(native);
  if (!from) return "?";
  if (from->address.is_v4()) return from->address.to_string();
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(from->address.bytes(), bytes.begin());
  if (!std::equal(mapped.begin(), mapped.end(), bytes.begin()))
    std::fill(bytes.begin() + ipv6_site_bytes, bytes.end(), std::uint8_t{0});
  return IpAddress::v6(bytes).to_string();
}

}  // namespace

TransportAcceptor::TransportAcceptor(const asio::any_io_executor& executor, TransportHost& host,
                                     Limits limits)
    : executor_(executor), host_(host), limits_(limits), tasks_(executor) {}

Result<void> TransportAcceptor::configure(const TlsMaterial& material,
                                          std::vector<AcceptedPeer> peers) {
  if (!context_ || !(material == material_)) {
    auto context = make_accepting_context(material);
    if (!context) return std::unexpected(std::move(context.error()).context("tunnel.tls"));
    context_ = std::move(*context);
    material_ = material;
  }
  peers_ = std::move(peers);
  // Who is no peer any more is cut off. One whose key has turned keeps the session it has proven.
  for (const SharedSession& session : std::vector(sessions_.begin(), sessions_.end()))
    if (std::ranges::find(peers_, session->peer, &AcceptedPeer::name) == peers_.end()) end(session);
  return {};
}

void TransportAcceptor::listen(UniqueFd listener) {
  tasks_.spawn("TLS transport listener", accept_from(Descriptor(executor_, listener.release())));
  if (!std::exchange(sweeping_, true)) tasks_.spawn("TLS transport sessions", sweep());
}

awaitable<void> TransportAcceptor::stop() {
  for (const SharedSession& session : std::vector(sessions_.begin(), sessions_.end()))
    end(session);
  co_await tasks_.stop();
}

TransportAcceptor::Counters TransportAcceptor::counters() const {
  Counters out{accepted_, refused_, sessions_.size(), 0};
  for (const SharedSession& session : sessions_)
    out.connections += session->shim.links();
  return out;
}

awaitable<void> TransportAcceptor::accept_from(Descriptor listener) {
  for (;;) {
    auto [ec] = co_await listener.async_wait(Descriptor::wait_read, as_result);
    if (ec) co_return;
    for (unsigned i = 0; i < accepts_per_turn; ++i) {
      NativeAddress from;
      UniqueFd fd(::accept4(listener.native_handle(), from.get(), &from.length,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno == EMFILE || errno == ENFILE) co_await sleep_for(accept_pause);
        break;
      }
      std::string whence = origin(from);
      const auto known = strangers_.find(whence);
      if (strangers_in_all_ >= limits_.strangers ||
          (known != strangers_.end() && known->second >= limits_.of_address)) {
        ++refused_;
        continue;
      }
      tasks_.spawn("TLS transport client",
                   greet(Descriptor(executor_, fd.release()), std::move(whence)));
    }
  }
}

// A stranger until a key is proven.
awaitable<void> TransportAcceptor::greet(Descriptor socket, std::string from) {
  struct Counted {
    TransportAcceptor& self;
    std::string from;
    Counted(TransportAcceptor& owner, std::string whence) : self(owner), from(std::move(whence)) {
      ++self.strangers_in_all_;
      ++self.strangers_[from];
    }
    ~Counted() { release(); }
    void release() {
      if (from.empty()) return;
      --self.strangers_in_all_;
      const auto at = self.strangers_.find(from);
      if (--at->second == 0) self.strangers_.erase(at);
      from.clear();
    }
  };
  Counted counted(*this, std::move(from));
  auto ssl = accepting(context_.get(), socket.native_handle());
  if (!ssl) {
    log::error("tunnel", ssl.error().what);
    co_return;
  }
  std::string peer;
  SessionId session{};
  constexpr auto attempt = [](TransportAcceptor& self, Descriptor& from_it, Ssl& by, SessionId& id,
                              std::string& found) -> awaitable<bool> {
    found = co_await self.prove(from_it, by, id);
    if (found.empty()) co_await ignore_the_rest(from_it);
    co_return true;
  };
  static_cast<void>(
      co_await with_deadline(attempt(*this, socket, *ssl, session, peer), limits_.patience));
  if (peer.empty()) {
    ++refused_;
    co_return;
  }
  counted.release();
  ++accepted_;
  co_await let_in(socket, *ssl, std::move(peer), session);
}

// The name of the peer whose key the hello was made with, after ours was said; empty: nobody's.
awaitable<std::string> TransportAcceptor::prove(Descriptor& socket, Ssl& ssl, SessionId& session) {
  if (!co_await handshake(socket, ssl.get())) co_return std::string();
  const auto exported = exported_of(ssl.get());
  if (!exported) co_return std::string();
  auto hello = co_await hear_hello(socket, ssl.get());
  if (!hello || hello->kind != HelloKind::dialled) co_return std::string();
  const auto peer = std::ranges::find_if(peers_, [&](const AcceptedPeer& one) {
    return same_mac(hello->mac, hello_mac(one.key, *exported, *hello));
  });
  if (peer == peers_.end()) co_return std::string();
  session = hello->session;
  std::string name = peer->name;  // peers_ may change while we wait
  Hello ours{.kind = HelloKind::accepted, .session = session, .mac = {}};
  ours.mac = hello_mac(peer->key, *exported, ours);
  if (!co_await say_hello(socket, ssl.get(), ours)) co_return std::string();
  co_return name;
}

awaitable<void> TransportAcceptor::let_in(Descriptor& socket, Ssl& ssl, std::string peer,
                                          SessionId id) {
  const SharedSession session = co_await session_of(std::move(peer), id);
  if (!session || session->shim.links() >= limits_.connections) {
    ++refused_;
    co_return;
  }
  co_await serve(session, std::make_shared<ShimLink>(std::move(socket), std::move(ssl)));
}

awaitable<TransportAcceptor::SharedSession> TransportAcceptor::session_of(std::string peer,
                                                                          SessionId id) {
  const auto found = [&] {
    return std::ranges::find_if(sessions_, [&](const SharedSession& session) {
      return session->peer == peer && session->id == id;
    });
  };
  if (const auto at = found(); at != sessions_.end()) co_return *at;
  auto udp = co_await host_.socket(SocketPurpose::session, peer);
  // The second connection of the same session may have been faster.
  if (const auto at = found(); at != sessions_.end()) co_return *at;
  if (!udp) {
    log::error("tunnel", udp.error().what, {{"peer", peer}});
    co_return nullptr;
  }
  const auto of_peer = [&](const SharedSession& session) { return session->peer == peer; };
  if (static_cast<std::size_t>(std::ranges::count_if(sessions_, of_peer)) >= limits_.sessions)
    end(*std::ranges::find_if(sessions_, of_peer));
  auto session = std::make_shared<Session>(executor_, peer, id, std::move(*udp));
  sessions_.push_back(session);
  tasks_.spawn("TLS transport session", run_session(session));
  log::info("tunnel", "a peer has come by the TLS transport", {{"peer", peer}});
  co_return session;
}

awaitable<void> TransportAcceptor::run_session(SharedSession session) {
  co_await session->shim.run();
}

awaitable<void> TransportAcceptor::serve(SharedSession session, std::shared_ptr<ShimLink> link) {
  struct Left {
    Session& session;
    ~Left() { session.empty_since = std::chrono::steady_clock::now(); }
  };
  const Left left{*session};
  co_await session->shim.serve(std::move(link));
}

void TransportAcceptor::end(SharedSession session) {
  sessions_.remove(session);
  session->shim.stop();
}

awaitable<void> TransportAcceptor::sweep() {
  for (;;) {
    if (co_await sleep_for(sweep_interval)) co_return;
    const auto now = std::chrono::steady_clock::now();
    for (const SharedSession& session : std::vector(sessions_.begin(), sessions_.end()))
      if (session->shim.links() == 0 && now - session->empty_since >= limits_.linger) end(session);
  }
}

}  // namespace oceanid::tunnel
