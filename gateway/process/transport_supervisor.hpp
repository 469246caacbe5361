#pragma once
// netd's hold on the transport process: has the launcher start one while there is anything for it
// to do, hands it keys and sockets, and starts the next one when it ends (with backoff up to 5 s).
// The loopback sockets of the shims stay open here, so WireGuard's packets meet the same address
// afterwards. What it says is checked: it speaks with strangers. Lives on netd's event loop.

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/ipc/channel.hpp"
#include "gateway/ipc/transport_messages.hpp"
#include "gateway/process/launcher_client.hpp"
#include "tunnel/core/transport.hpp"
#include "tunnel/edge/transport_host.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace oceanid::process {

// Everything that a transport needs; kept for its successors.
struct TransportConfiguration {
  ipc::TransportConfigure message;
  std::string user;
  std::vector<UniqueFd> fds;  // in the order of the message
  bool needed() const { return !message.dials.empty() || !message.accept_at.empty(); }
};

class TransportSupervisor {
 public:
  struct Events {
    std::function<Result<UniqueFd>(tunnel::SocketPurpose, const std::string& peer)> socket;
    std::function<void(const std::string& peer, tunnel::Transport, std::size_t links)> links;
    std::function<void(const std::string& peer, tunnel::Transport)> answer;
    std::function<void(const std::string& peer, tunnel::Transport, const std::string&)> trouble;
    std::function<void()> ended;  // all its connections are gone; the next one is being started
  };

  TransportSupervisor(asio::io_context& io, LauncherClient& launcher, Events events);

  void configure(TransportConfiguration configuration);
  void order(const ipc::TransportOrder& order);
  const ipc::TransportCounters& counters() const { return counters_; }
  std::uint64_t restarts() const { return restarts_; }
  awaitable<void> stop();

 private:
  awaitable<void> run();
  awaitable<void> serve(std::shared_ptr<ipc::Channel> channel);
  bool hand_over(ipc::Channel& channel);
  bool send(ipc::Channel& channel, std::string_view type, boost::json::value body,
            std::vector<UniqueFd> fds = {});
  bool dispatch(ipc::Channel& channel, const ipc::Frame& frame);
  bool give_socket(ipc::Channel& channel, const ipc::TransportWant& want);
  bool within_budget();
  bool knows(const std::string& peer) const;

  asio::io_context& io_;
  LauncherClient& launcher_;
  Events events_;
  TransportConfiguration configuration_;
  std::map<std::string, ipc::TransportOrder> orders_;  // by peer
  std::shared_ptr<ipc::Channel> channel_;              // shared with the running serve()
  ipc::TransportCounters counters_;
  std::chrono::steady_clock::time_point window_{};
  unsigned frames_in_window_ = 0;
  std::uint64_t restarts_ = 0;
  bool running_ = false;
  bool replacing_ = false;
  bool stopping_ = false;
  TaskGroup writers_;
  TaskGroup tasks_;
};

}  // namespace oceanid::process
