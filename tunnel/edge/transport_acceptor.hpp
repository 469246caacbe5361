#pragma once
// The side that is dialled: takes TLS connections, lets in whoever holds the key of one of our
// peers, and gives every dialler's session a loopback socket to our WireGuard of its own, so that
// WireGuard sees each as a peer at an address. Whoever has no key is not told: the connection is
// read from and forgotten, and closed when its time is over, as it is for one that says nothing.
// What strangers can hold is bounded, in all and for each of their addresses. Belongs to one
// thread.

#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/edge/shim_session.hpp"
#include "tunnel/edge/transport_host.hpp"
#include "tunnel/edge/transport_tls.hpp"

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace oceanid::tunnel {

struct AcceptedPeer {
  std::string name;
  TransportKey key;
  bool operator==(const AcceptedPeer&) const = default;
};

class TransportAcceptor {
 public:
  struct Limits {
    std::size_t strangers = 128;               // connections without a proven key
    std::size_t of_address = 16;               // of these, from one IPv4 address or IPv6 /64
    std::size_t sessions = 4;                  // of one peer; the oldest makes room
    std::size_t connections = 8;               // of one session
    std::chrono::milliseconds patience{5000};  // until a key is proven
    std::chrono::milliseconds linger{10000};   // a session without a connection waits so long
  };
  struct Counters {
    std::uint64_t accepted = 0;  // connections of peers
    std::uint64_t refused = 0;   // of others, or beyond a limit
    std::size_t sessions = 0;
    std::size_t connections = 0;
  };

  TransportAcceptor(const asio::any_io_executor& executor, TransportHost& host, Limits limits);

  // Takes effect for connections from now on; sessions of who is no peer any more end. An error
  // changes nothing.
  Result<void> configure(const TlsMaterial& material, std::vector<AcceptedPeer> peers);
  void listen(UniqueFd listener);  // one more, or the same anew; sockets stay until stop()
  awaitable<void> stop();
  Counters counters() const;

 private:
  struct Session {
    Session(const asio::any_io_executor& executor, std::string of, SessionId number, UniqueFd udp)
        : peer(std::move(of)), id(number), shim(executor, std::move(udp)) {}
    std::string peer;
    SessionId id;
    ShimSession shim;
    std::chrono::steady_clock::time_point empty_since = std::chrono::steady_clock::now();
  };
  using SharedSession = std::shared_ptr<Session>;

  awaitable<void> accept_from(ShimLink::Descriptor listener);
  awaitable<void> greet(ShimLink::Descriptor socket, std::string from);
  awaitable<void> let_in(ShimLink::Descriptor& socket, Ssl& ssl, std::string peer, SessionId id);
  awaitable<std::string> prove(ShimLink::Descriptor& socket, Ssl& ssl, SessionId& session);
  awaitable<SharedSession> session_of(std::string peer, SessionId id);
  static awaitable<void> run_session(SharedSession session);
  awaitable<void> serve(SharedSession session, std::shared_ptr<ShimLink> link);
  awaitable<void> sweep();
  void end(SharedSession session);  // a copy: the caller's may lie in the list

  asio::any_io_executor executor_;
  TransportHost& host_;
  Limits limits_;
  TlsMaterial material_;
  SslContext context_;
  std::vector<AcceptedPeer> peers_;
  std::map<std::string, std::size_t> strangers_;  // by where they come from
  std::size_t strangers_in_all_ = 0;
  std::list<SharedSession> sessions_;  // the oldest first
  std::uint64_t accepted_ = 0;
  std::uint64_t refused_ = 0;
  bool sweeping_ = false;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
