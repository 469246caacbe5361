#include "bench/load/tunnel.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace oceanid::bench {
namespace {

constexpr std::size_t kMaxAnswer = 4096;

bool send_all(int fd, std::string_view bytes) {
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

}  // namespace

void Tunnel::start(Poller& poller, Handler& handler, const Options& options, std::size_t serial) {
  close();
  reason_.clear();
  answer_.clear();
  pong_bytes_ = 0;
  through_proxy_ = options.proxy.has_value();
  http_ = options.http;
  target_ = options.targets[serial % options.targets.size()];
  const IpAddress& source = options.sources[serial % options.sources.size()];
  auto socket = start_connect(source, options.proxy.value_or(target_));
  if (!socket) {
    fail_with(std::move(socket.error().what));
    return;
  }
  socket_ = std::move(*socket);
  phase_ = Phase::connecting;
  if (auto added = poller.add(socket_.get(), EPOLLIN | EPOLLOUT | EPOLLET, handler); !added) {
    fail_with(std::move(added.error().what));
  }
}

Tunnel::Phase Tunnel::advance(std::uint32_t events) {
  if (phase_ == Phase::connecting) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
      fail_with("connect refused or reset");
    } else if ((events & EPOLLOUT) != 0) {
      ask();
    }
  } else if (phase_ == Phase::asking && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    read_answer();
  }
  return phase_;
}

void Tunnel::ask() {
  if (!through_proxy_ || http_) {
    phase_ = Phase::open;
    return;
  }
  const std::string authority = target_.to_string();
  const std::string head = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
  phase_ = Phase::asking;
  if (!send_all(socket_.get(), head)) {
    fail_with("sending the CONNECT head");
  }
}

void Tunnel::read_answer() {
  std::array<char, 1024> buffer;
  const auto count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && errno == EAGAIN) {
    return;
  }
  if (count <= 0) {
    fail_with("the proxy closed instead of answering");
    return;
  }
  answer_.append(buffer.data(), static_cast<std::size_t>(count));
  const auto end = answer_.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (answer_.size() > kMaxAnswer) {
      fail_with("the proxy's answer does not end");
    }
    return;
  }
  const std::string_view line = std::string_view(answer_).substr(0, answer_.find("\r\n"));
  if (!line.starts_with("HTTP/1.") || line.size() < 12 || line.substr(9, 3) != "200") {
    fail_with("answer: " + std::string(line));
  } else if (end + 4 != answer_.size()) {
    fail_with("bytes behind the answer before the target was asked");
  } else {
    phase_ = Phase::open;
  }
}

// Absolute-form to a proxy, origin-form to the target itself (RFC 9112 section 3.2).
bool Tunnel::send_request(std::string_view path) {
  const std::string authority = target_.to_string();
  answer_.clear();
  std::string head = "GET ";
  if (through_proxy_) {
    head += "http://" + authority;
  }
  head.append(path).append(" HTTP/1.1\r\nHost: ").append(authority).append("\r\n\r\n");
  if (send_all(socket_.get(), head)) {
    return true;
  }
  fail_with("sending a request");
  return false;
}

// Its content is as long as a ping, so the end is known without the head's fields.
bool Tunnel::receive_response() {
  std::array<char, 2048> buffer;
  const auto count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && errno == EAGAIN) {
    return false;
  }
  if (count <= 0) {
    fail_with("closed instead of an answer");
    return false;
  }
  answer_.append(buffer.data(), static_cast<std::size_t>(count));
  const auto end = answer_.find("\r\n\r\n");
  if (end == std::string::npos) {
    return false;
  }
  const std::string_view line = std::string_view(answer_).substr(0, answer_.find("\r\n"));
  if (line.substr(std::min<std::size_t>(9, line.size()), 3) != "200") {
    fail_with("answer: " + std::string(line));
    return false;
  }
  return answer_.size() >= end + 4 + kPingBytes;
}

bool Tunnel::send_ping() {
  if (http_) {
    return send_request("/");
  }
  std::array<char, kPingBytes> ping{};
  ping.front() = 'E';
  pong_bytes_ = 0;
  if (send_all(socket_.get(), {ping.data(), ping.size()})) {
    return true;
  }
  fail_with("sending 64 bytes");
  return false;
}

bool Tunnel::receive_pong() {
  if (http_) {
    return receive_response();
  }
  std::array<char, kPingBytes + 1> buffer;  // one more: too much would be noticed
  const auto count = ::recv(socket_.get(), buffer.data(), buffer.size() - pong_bytes_, 0);
  if (count < 0 && errno == EAGAIN) {
    return false;
  }
  if (count <= 0) {
    fail_with("the tunnel was closed");
    return false;
  }
  pong_bytes_ += static_cast<std::size_t>(count);
  if (pong_bytes_ > kPingBytes) {
    fail_with("more came back than was sent");
    return false;
  }
  return pong_bytes_ == kPingBytes;
}

bool Tunnel::send_byte(char byte) {
  if (http_) {
    return send_request("/endless");
  }
  if (send_all(socket_.get(), {&byte, 1})) {
    return true;
  }
  fail_with("sending the first byte");
  return false;
}

void Tunnel::fail_with(std::string reason) {
  socket_.close();
  phase_ = Phase::failed;
  reason_ = std::move(reason);
}

void Tunnel::close() {
  socket_.close();
  phase_ = Phase::closed;
}

}  // namespace oceanid::bench
