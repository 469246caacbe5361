#pragma once
// A real Server on a thread of its own, and blocking sockets to talk to it over loopback. Every
// blocking call has a time limit, so a hung relay fails a test instead of hanging it.

#include "proxy/edge/server.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>

namespace oceanid::proxy::test {

using namespace std::chrono_literals;

// A connected stream socket. Reads and writes wait at most 10 s.
class Peer {
 public:
  Peer() = default;
  explicit Peer(UniqueFd fd);
  static Peer connect(std::uint16_t port, const std::string& from = "127.0.0.1");

  bool send_all(std::string_view bytes);
  std::string recv_some(
      std::size_t most = 65536);             // empty: end of stream (or an error: last_error())
  std::string recv_exact(std::size_t size);  // shorter when the stream ends before
  std::string recv_all();                    // until the end of the stream
  std::string recv_head();                   // up to and with the empty line
  bool nothing_to_read();                    // at this moment
  void finish_sending();                     // FIN
  void reset();                              // RST
  void close() { fd_.reset(); }
  int last_error() const { return error_; }
  int fd() const { return fd_.get(); }
  std::uint16_t local_port() const;

 private:
  UniqueFd fd_;
  int error_ = 0;
};

// A listening socket on 127.0.0.1 whose connections the test takes one by one.
class Target {
 public:
  explicit Target(int backlog = 512);
  std::uint16_t port() const { return port_; }
  Peer accept();
  bool accept_would_block();

 private:
  std::uint16_t port_ = 0;  // before fd_, whose opening sets it
  UniqueFd fd_;
};

UniqueFd listen_on_loopback(std::uint16_t& port, int backlog = 512);
std::uint16_t unused_port();  // nobody listens there

// The gateway under test.
class Gateway {
 public:
  explicit Gateway(const std::function<void(Runtime&, ProxySettings&)>& change = {},
                   std::vector<ForwardSettings> forwards = {}, ListenerSettings listener = {},
                   Commons commons = {});
  ~Gateway();

  std::uint16_t port() const { return port_; }
  std::uint16_t forward_port(std::size_t i) const { return forward_ports_.at(i); }
  Peer client(const std::string& from = "127.0.0.1") { return Peer::connect(port_, from); }
  Server& server() { return *server_; }  // on the loop only: run_inside()
  StatsSnapshot stats() const { return server_->snapshot(); }
  void apply(const std::function<void(Runtime&, ProxySettings&)>& change);
  void drain(std::chrono::milliseconds patience);
  void run_inside(std::function<void()> work);  // on the loop's thread; waits for it
  // Waits until the statistics satisfy the condition; false after 10 s.
  bool eventually(const std::function<bool(const StatsSnapshot&)>& condition) const;

 private:
  std::shared_ptr<const Runtime> make(const std::function<void(Runtime&, ProxySettings&)>& change);

  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  ProxySettings settings_;
  Runtime runtime_;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  std::vector<std::uint16_t> forward_ports_;
  std::thread thread_;
  bool drained_ = false;
};

// CONNECT and the answer's head; what the target sends behind it stays unread.
std::string connect_through(Peer& client, const std::string& authority,
                            std::string_view early = {});
std::string connect_request(const std::string& authority);
std::string loopback(std::uint16_t port);  // "127.0.0.1:PORT"

struct Tunnel {
  Peer client;
  Peer server;
};
Tunnel open_tunnel(Gateway& gateway, Target& target);

std::string pattern(std::size_t size, std::uint32_t seed);  // bytes that show shifts and swaps

}  // namespace oceanid::proxy::test
