#include "tests/unit/proxy/edge_support.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace oceanid::proxy::test {
namespace {

SocketAddress on_loopback(const std::string& address, std::uint16_t port) {
  return {IpAddress::parse(address).value(), port};
}

}  // namespace

Peer::Peer(UniqueFd fd) : fd_(std::move(fd)) {
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

Peer Peer::connect(std::uint16_t port, const std::string& from) {
  Peer out(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  const NativeAddress source = to_native(on_loopback(from, 0));
  if (::bind(out.fd(), source.get(), source.length) != 0) ADD_FAILURE() << "bind: " << errno;
  const NativeAddress raw = to_native(on_loopback("127.0.0.1", port));
  if (::connect(out.fd(), raw.get(), raw.length) != 0) ADD_FAILURE() << "connect: " << errno;
  return out;
}

bool Peer::send_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      error_ = errno;
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string Peer::recv_some(std::size_t most) {
  std::string out(most, '\0');
  const ssize_t got = ::recv(fd(), out.data(), out.size(), 0);
  error_ = got < 0 ? errno : 0;
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return out;
}

std::string Peer::recv_exact(std::size_t size) {
  std::string out;
  while (out.size() < size) {
    const std::string more = recv_some(size - out.size());
    if (more.empty()) break;
    out += more;
  }
  return out;
}

std::string Peer::recv_all() {
  std::string out;
  for (;;) {
    const std::string more = recv_some();
    if (more.empty()) return out;
    out += more;
  }
}

std::string Peer::recv_head() {
  std::string out;
  while (!out.ends_with("\r\n\r\n")) {
    const std::string more = recv_some(1);
    if (more.empty()) break;
    out += more;
  }
  return out;
}

bool Peer::nothing_to_read() {
  char byte = 0;
  return ::recv(fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

void Peer::finish_sending() {
  proxy::finish_sending(fd());
}

void Peer::reset() {
  reset_on_close(fd());
  close();
}

std::uint16_t Peer::local_port() const {
  return local_address(fd()).port;
}

UniqueFd listen_on_loopback(std::uint16_t& port, int backlog) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const NativeAddress raw = to_native(on_loopback("127.0.0.1", 0));
  if (::bind(fd.get(), raw.get(), raw.length) != 0 || ::listen(fd.get(), backlog) != 0)
    ADD_FAILURE() << "listen: " << errno;
  port = local_address(fd.get()).port;
  return fd;
}

std::uint16_t unused_port() {
  std::uint16_t port = 0;
  UniqueFd(listen_on_loopback(port)).reset();
  return port;
}

Target::Target(int backlog) : fd_(listen_on_loopback(port_, backlog)) {
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

Peer Target::accept() {
  UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) ADD_FAILURE() << "nobody connected: " << errno;
  return Peer(std::move(fd));
}

bool Target::accept_would_block() {
  pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) == 0;
}

Gateway::Gateway(const std::function<void(Runtime&, ProxySettings&)>& change,
                 std::vector<ForwardSettings> forwards, ListenerSettings listener,
                 Commons commons) {
  settings_.connect_ports.clear();
  settings_.guard.allow = {Prefix::parse("127.0.0.0/8").value()};
  runtime_.access_log = false;
  runtime_.node = "test";
  std::vector<ListenSocket> sockets;
  ListenSocket proxy{"proxy", listen_on_loopback(port_, 4096).release(), std::move(listener)};
  sockets.push_back(std::move(proxy));
  for (ForwardSettings& forward : forwards) {
    auto fd = listen_on_loopback(forward_ports_.emplace_back());
    forward.bind = on_loopback("127.0.0.1", forward_ports_.back());
    sockets.push_back({"forward " + forward.name, fd.release(), forward});
  }
  runtime_.forwards = std::move(forwards);
  server_ = std::make_unique<Server>(io_, make(change), std::move(commons));
  server_->adopt(std::move(sockets));
  thread_ = std::thread([this] { io_.run(); });
}

Gateway::~Gateway() {
  if (!drained_) drain(0ms);
  work_.reset();
  io_.stop();
  thread_.join();
}

std::shared_ptr<const Runtime> Gateway::make(
    const std::function<void(Runtime&, ProxySettings&)>& change) {
  if (change) change(runtime_, settings_);
  runtime_.proxy = std::make_shared<const ProxySettings>(settings_);
  return std::make_shared<const Runtime>(runtime_);
}

void Gateway::apply(const std::function<void(Runtime&, ProxySettings&)>& change) {
  run_inside([&] { server_->apply(make(change)); });
}

void Gateway::drain(std::chrono::milliseconds patience) {
  drained_ = true;
  std::promise<void> done;
  asio::co_spawn(io_, server_->drain(patience),
                 [&done](const std::exception_ptr&) { done.set_value(); });
  done.get_future().wait();
}

void Gateway::run_inside(std::function<void()> work) {
  std::promise<void> done;
  asio::post(io_, [&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

bool Gateway::eventually(const std::function<bool(const StatsSnapshot&)>& condition) const {
  const auto deadline = SteadyClock::now() + 10s;
  while (SteadyClock::now() < deadline) {
    if (condition(stats())) return true;
    std::this_thread::yield();
  }
  return false;
}

std::string connect_request(const std::string& authority) {
  return "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
}

std::string connect_through(Peer& client, const std::string& authority, std::string_view early) {
  client.send_all(connect_request(authority) + std::string(early));
  return client.recv_head();
}

std::string loopback(std::uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

Tunnel open_tunnel(Gateway& gateway, Target& target) {
  Tunnel out{gateway.client(), {}};
  const std::string answer = connect_through(out.client, loopback(target.port()));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  out.server = target.accept();
  return out;
}

std::string pattern(std::size_t size, std::uint32_t seed) {
  std::string out(size, '\0');
  std::uint32_t state = seed * 2654435761U + 1;
  for (char& byte : out) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24);
  }
  return out;
}

}  // namespace oceanid::proxy::test
