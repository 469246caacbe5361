#include "bench/load/target.hpp"

#include "bench/load/net.hpp"

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::bench {
namespace {

class Connection;

// All connections, by descriptor; a connection that is over removes itself.
struct Target {
  Poller poller;
  Descriptor noise;
  std::unordered_map<int, std::unique_ptr<Connection>> connections{};
  bool stopped = false;
};

class Connection : public Handler {
 public:
  Connection(Target& target, Descriptor socket) : target_(target), socket_(std::move(socket)) {}

  void on_events(std::uint32_t events) override {
    const bool goes_on = (events & EPOLLERR) == 0 && serve();
    if (!goes_on) {
      target_.connections.erase(socket_.get());  // destroys *this: nothing after it
    }
  }

 private:
  bool serve() {
    if (mode_ == 0) {
      const auto count = ::recv(socket_.get(), &mode_, 1, MSG_PEEK);
      if (count <= 0) {
        return count < 0 && errno == EAGAIN;
      }
    }
    switch (mode_) {
      case 'E':
        return echo();
      case 'D':
        return send_down();
      case 'U':
        return receive_up();
      case 'G':
        return answer();
      default:
        return false;
    }
  }

  bool echo() {
    std::array<char, 4096> buffer;
    const auto count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (count <= 0) {
      return count < 0 && errno == EAGAIN;
    }
    return ::send(socket_.get(), buffer.data(), static_cast<std::size_t>(count), 0) == count;
  }

  // Plain HTTP, just enough of it: 64 bytes for "GET / ", noise for anything else.
  bool answer() {
    if (sending_) {
      return send_down();
    }
    std::array<char, 4096> buffer;
    const auto count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (count <= 0) {
      return count < 0 && errno == EAGAIN;
    }
    request_.append(buffer.data(), static_cast<std::size_t>(count));
    if (!request_.ends_with("\r\n\r\n")) {
      return request_.size() < buffer.size();
    }
    const bool small = request_.starts_with("GET / ");
    request_.clear();
    const std::string head = fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                                         small ? kSmall : std::uint64_t{1} << 50);
    const std::string whole = small ? head + std::string(kSmall, 'x') : head;
    if (::send(socket_.get(), whole.data(), whole.size(), 0) !=
        static_cast<std::ptrdiff_t>(whole.size())) {
      return false;
    }
    return small || send_down();
  }

  bool send_down() {
    if (!sending_) {
      sending_ = true;
      return target_.poller.change(socket_.get(), EPOLLOUT, *this).has_value();
    }
    constexpr int kPerTurn = 4;  // then the other streams get theirs
    for (int i = 0; i < kPerTurn; ++i) {
      if (send_noise(socket_.get(), target_.noise.get(), offset_) < 0) {
        return errno == EAGAIN;
      }
    }
    return true;
  }

  bool receive_up() {
    const auto count = discard(socket_.get(), /*copy=*/false);
    if (count <= 0) {
      return count < 0 && errno == EAGAIN;
    }
    received_ += static_cast<std::uint64_t>(count);
    constexpr std::uint64_t kEvery = std::uint64_t{1} << 20;
    if (received_ - reported_ < kEvery) {
      return true;
    }
    reported_ = received_;
    return ::send(socket_.get(), &received_, sizeof received_, 0) == sizeof received_;
  }

  static constexpr std::uint64_t kSmall = 64;

  Target& target_;
  Descriptor socket_;
  std::string request_;
  char mode_ = 0;
  bool sending_ = false;
  std::size_t offset_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t reported_ = 0;
};

class Listener : public Handler {
 public:
  Listener(Target& target, Descriptor socket) : target_(target), socket_(std::move(socket)) {}
  int fd() const { return socket_.get(); }

  void on_events(std::uint32_t /*events*/) override {
    while (true) {
      Descriptor accepted(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!accepted) {
        return;  // EAGAIN; after EMFILE level triggering asks again
      }
      const int on = 1;
      static_cast<void>(::setsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
      const int fd = accepted.get();
      auto connection = std::make_unique<Connection>(target_, std::move(accepted));
      if (target_.poller.add(fd, EPOLLIN, *connection)) {
        target_.connections[fd] = std::move(connection);
      }
    }
  }

 private:
  Target& target_;
  Descriptor socket_;
};

class InputEnd : public Handler {
 public:
  explicit InputEnd(Target& target) : target_(target) {}
  void on_events(std::uint32_t /*events*/) override {
    std::array<char, 64> ignored;
    target_.stopped = ::read(STDIN_FILENO, ignored.data(), ignored.size()) <= 0;
  }

 private:
  Target& target_;
};

}  // namespace

Result<void> run_target(const Options& options) {
  auto poller = Poller::make();
  auto noise = make_noise();
  if (!poller || !noise) {
    return std::unexpected(poller ? noise.error() : poller.error());
  }
  Target target{.poller = std::move(*poller), .noise = std::move(*noise)};
  InputEnd input(target);
  if (auto added = target.poller.add(STDIN_FILENO, EPOLLIN, input); !added) {
    return std::unexpected(
        std::move(added.error()).context("standard input must be a pipe or terminal"));
  }
  std::vector<std::unique_ptr<Listener>> listeners;
  std::string ports;
  for (std::size_t i = 0; i < options.ports; ++i) {
    auto socket = listen_on({.address = IpAddress::v4({127, 0, 0, 1}), .port = 0});
    if (!socket) {
      return std::unexpected(std::move(socket.error()));
    }
    const auto port = bound_port(socket->get());
    auto& listener =
        *listeners.emplace_back(std::make_unique<Listener>(target, std::move(*socket)));
    const auto added = target.poller.add(listener.fd(), EPOLLIN, listener);
    if (!port || !added) {
      return std::unexpected(port ? added.error() : port.error());
    }
    ports += fmt::format("{}127.0.0.1:{}", i == 0 ? "" : ",", *port);
  }
  fmt::print("{}\n", ports);
  static_cast<void>(std::fflush(stdout));
  while (!target.stopped) {
    if (auto polled = target.poller.poll(std::chrono::seconds(1)); !polled) {
      return polled;
    }
  }
  return {};
}

}  // namespace oceanid::bench
