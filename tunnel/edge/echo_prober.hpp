#pragma once
// Asks for echoes through one dialled tunnel and keeps the tracker that judges the answers. The
// socket is bound to the device and to the node's own tunnel address, so a question never takes
// another way; it is opened anew when the device has been replaced. One coroutine, one thread.

#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "tunnel/core/echo_tracker.hpp"
#include "tunnel/core/exit_proof.hpp"

#include <functional>
#include <memory>

#include <boost/asio/ip/udp.hpp>

namespace oceanid::tunnel {

class EchoProber {
 public:
  struct Target {
    IfName device;
    IpAddress source;    // one of our own tunnel addresses, of the same family as `peer`
    SocketAddress peer;  // its tunnel address and probe port
    std::chrono::milliseconds interval{200};
    std::uint32_t down_after = 3;
    bool operator==(const Target&) const = default;
  };

  // `on_change` is called from run() whenever the state has changed.
  EchoProber(const asio::any_io_executor& executor, Target target, std::function<void()> on_change);

  awaitable<void> run();  // until stop() or cancellation; the prober must outlive it
  void stop();

  const Target& target() const { return target_; }
  const EchoTracker& tracker() const { return tracker_; }
  EchoResult result(EchoTracker::Time now) const;

 private:
  bool open();
  void ask(EchoTracker::Time now);
  void take_answers();
  void report();

  Target target_;
  std::function<void()> on_change_;
  EchoTracker tracker_;
  EchoState reported_ = EchoState::unknown;
  asio::ip::udp::socket socket_;
  unsigned device_index_ = 0;  // 0: no socket
  asio::steady_timer timer_;
  bool stopping_ = false;
};

}  // namespace oceanid::tunnel
