#pragma once
// Whether UDP reaches a peer outside the tunnel, asked at the very ports that WireGuard would use:
// the far side's packet filter knows our probes by their first bytes and hands them to its
// responder. UdpReach asks, ReachResponder answers; an answer is as long as its question and only
// holders of a key get one.

#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "tunnel/core/transport.hpp"
#include "tunnel/edge/transport_host.hpp"
#include "tunnel/edge/transport_keys.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace oceanid::tunnel {

class UdpReach {
 public:
  UdpReach(const asio::any_io_executor& executor, std::string peer, TransportKey key,
           TransportHost& host);

  void set_interval(std::chrono::nanoseconds interval);  // 0: not at all
  awaitable<void> run(Transport rung);                   // one for each rung, until stop()
  void stop();

 private:
  static constexpr std::size_t remembered = 16;
  struct Way {
    explicit Way(const asio::any_io_executor& executor) : socket(executor) {}
    asio::posix::stream_descriptor socket;
    std::array<std::uint64_t, remembered> asked{};  // nonces; 0: none, or answered
    std::size_t next = 0;
    unsigned unanswered = 0;
  };
  bool ask(Way& way) const;
  bool take_answers(Way& way, Transport rung);
  awaitable<void> wait_for_change();

  asio::any_io_executor executor_;
  std::string peer_;
  TransportKey key_;
  TransportHost& host_;
  std::chrono::nanoseconds interval_{0};
  asio::steady_timer change_;  // cancelled when the interval has changed
  bool stopping_ = false;
};

class ReachResponder {
 public:
  // `socket`: UDP, of both families, with IP_PKTINFO and IPV6_RECVPKTINFO set.
  ReachResponder(const asio::any_io_executor& executor, UniqueFd socket);

  void set_keys(std::vector<TransportKey> keys) { keys_ = std::move(keys); }
  awaitable<void> run();  // until stop()
  void stop();
  std::uint64_t answered() const { return answered_; }
  std::uint64_t ignored() const { return ignored_; }

 private:
  bool answer_one();
  bool may_work(std::chrono::steady_clock::time_point now);

  asio::posix::stream_descriptor socket_;
  std::vector<TransportKey> keys_;
  std::chrono::steady_clock::time_point window_{};
  unsigned in_window_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t ignored_ = 0;
};

}  // namespace oceanid::tunnel
