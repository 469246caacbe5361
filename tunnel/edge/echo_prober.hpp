#pragma once
// Asks for echoes through one dialled tunnel and keeps the machine that judges the answers. The
// socket is bound to the device and to the node's own tunnel address, so a question never takes
// another way; it is opened anew when the device has been replaced. One coroutine, one thread.
//
// While small echoes come back, one of full size goes along every 2 s: a separate connection may
// take another path than the outer probes, so this is the proof that data-size packets pass. It is
// sent with DF and comes back in full size. Three in a row that do not are reported.

#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "tunnel/core/exit_proof.hpp"
#include "tunnel/core/health_path.hpp"
#include "tunnel/core/probe_packet.hpp"

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

  // `on_change` is called from run() whenever the tunnel begins to carry, ceases to, or is found
  // dead, and when the exit at its end says something else of itself; a mere suspicion is told to
  // nobody.
  EchoProber(const asio::any_io_executor& executor, Target target, std::function<void()> on_change);

  awaitable<void> run();  // until stop() or cancellation; the prober must outlive it
  void stop();
  // Asks at once: whoever hears us through the tunnel answers to where we are now.
  void nudge();

  // Until then nothing is asked and nothing heard, as if the tunnel were dead: for a drill.
  void hold_deaf(TimePoint until) { deaf_until_ = until; }

  // The MTU inside the tunnel; 0: no full-size echoes. `on_lost`: called from run() while they do
  // not come back, though they did before.
  void set_full_size(unsigned mtu) { full_mtu_ = mtu; }
  void set_on_full_size_lost(std::function<void(unsigned missing)> on_lost) {
    on_full_lost_ = std::move(on_lost);
  }
  unsigned full_size_missing() const { return full_missing_; }  // in a row

  const Target& target() const { return target_; }
  const PathHealth& tracker() const { return tracker_; }
  EchoResult result(TimePoint now) const;

 private:
  bool open();
  void ask(TimePoint now);
  void ask_full_size(TimePoint now);
  void take_full_size(std::size_t size, TimePoint now);
  void take_answers();
  void take_word(const std::optional<ExitWord>& word);
  void report();

  Target target_;
  std::function<void()> on_change_;
  PathHealth tracker_;
  PathState reported_ = PathState::init;
  asio::ip::udp::socket socket_;
  unsigned device_index_ = 0;  // 0: no socket
  std::function<void(unsigned missing)> on_full_lost_;
  unsigned full_mtu_ = 0;
  std::uint64_t full_nonce_ = 0;  // of the one that is under way; 0: none
  std::size_t full_size_ = 0;     // its UDP content
  std::optional<ExitWord> word_;  // as last heard
  bool full_heard_ = false;       // the other end answers such
  unsigned full_missing_ = 0;
  TimePoint full_next_{};
  asio::steady_timer timer_;
  TimePoint deaf_until_{};
  bool hurried_ = false;
  bool stopping_ = false;
};

}  // namespace oceanid::tunnel
