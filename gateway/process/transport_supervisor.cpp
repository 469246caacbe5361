#include "gateway/process/transport_supervisor.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/launcher.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fcntl.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto first_backoff = 50ms;
constexpr auto longest_backoff = 5s;
constexpr auto settled_after = 10s;
constexpr unsigned most_frames_per_second = 2000;  // more is no transport's business

awaitable<void> write_for(std::shared_ptr<ipc::Channel> channel) {
  co_await channel->write_loop();
}

bool is_rung(std::uint32_t number) {
  return number < tunnel::transports;
}

}  // namespace

TransportSupervisor::TransportSupervisor(asio::io_context& io, LauncherClient& launcher,
                                         Events events)
    : io_(io),
      launcher_(launcher),
      events_(std::move(events)),
      writers_(io.get_executor()),
      tasks_(io.get_executor()) {}

void TransportSupervisor::configure(TransportConfiguration configuration) {
  // Another listening socket, or other account: only a new process has it.
  const auto& before = configuration_.message.accept_at;
  const bool anew = channel_ && ((!before.empty() && configuration.message.accept_at != before) ||
                                 configuration.user != configuration_.user);
  configuration_ = std::move(configuration);
  std::erase_if(orders_, [&](const auto& entry) { return !knows(entry.first); });
  if (channel_ && (anew || !configuration_.needed())) {
    replacing_ = true;
    channel_->close();
  } else if (channel_ && !hand_over(*channel_)) {
    channel_->close();
  }
  if (!running_ && configuration_.needed()) {
    running_ = true;
    tasks_.spawn("transport supervisor", run());
  }
}

void TransportSupervisor::order(const ipc::TransportOrder& order) {
  const auto [at, first] = orders_.try_emplace(order.peer, order);
  if (!first && at->second == order) return;
  at->second = order;
  if (channel_) send(*channel_, ipc::transport_order_frame, boost::json::value_from(order));
}

awaitable<void> TransportSupervisor::stop() {
  stopping_ = true;
  if (channel_) channel_->close();
  co_await tasks_.stop();
  co_await writers_.stop();
}

bool TransportSupervisor::knows(const std::string& peer) const {
  const auto& dials = configuration_.message.dials;
  return std::ranges::find(dials, peer, &ipc::TransportDial::peer) != dials.end();
}

awaitable<void> TransportSupervisor::run() {
  auto backoff = std::chrono::steady_clock::duration(first_backoff);
  while (!stopping_ && configuration_.needed()) {
    const auto began = std::chrono::steady_clock::now();
    replacing_ = false;
    auto socket = launcher_.launch(transport_kind, configuration_.user);
    if (socket) {
      channel_ = std::make_shared<ipc::Channel>(io_.get_executor(), std::move(*socket));
      writers_.spawn("transport writer", write_for(channel_));
      if (hand_over(*channel_)) co_await serve(channel_);
      channel_->close();
      channel_.reset();
      counters_ = {};
      events_.ended();
    } else {
      log::error("tunnel", "cannot start a transport", {{"error", socket.error().what}});
    }
    if (stopping_ || launcher_.gone()) break;
    if (replacing_) continue;
    ++restarts_;
    if (std::chrono::steady_clock::now() - began > settled_after) backoff = first_backoff;
    co_await sleep_for(backoff);
    backoff = std::min<std::chrono::steady_clock::duration>(backoff * 2, longest_backoff);
  }
  running_ = false;
}

bool TransportSupervisor::hand_over(ipc::Channel& channel) {
  std::vector<UniqueFd> fds;
  for (const UniqueFd& fd : configuration_.fds) {
    fds.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!fds.back()) return false;
  }
  if (!send(channel, ipc::transport_configure_frame,
            boost::json::value_from(configuration_.message), std::move(fds)))
    return false;
  return std::ranges::all_of(orders_, [&](const auto& entry) {
    return send(channel, ipc::transport_order_frame, boost::json::value_from(entry.second));
  });
}

bool TransportSupervisor::send(ipc::Channel& channel, std::string_view type,
                               boost::json::value body, std::vector<UniqueFd> fds) {
  ipc::Frame frame;
  frame.type = type;
  frame.body = std::move(body);
  frame.fds = std::move(fds);
  const auto sent = channel.send(std::move(frame));
  if (!sent && sent.error().code == Errc::limit) {
    log::error("tunnel", "the transport does not read its messages; replacing it");
    channel.close();
  }
  return sent.has_value();
}

awaitable<void> TransportSupervisor::serve(std::shared_ptr<ipc::Channel> channel) {
  for (;;) {
    auto frame = co_await channel->receive();
    if (!frame) co_return;
    if (!within_budget() || !dispatch(*channel, *frame)) {
      log::error("tunnel", "the transport sent a message that makes no sense; replacing it",
                 {{"type", frame->type}});
      co_return;
    }
  }
}

bool TransportSupervisor::within_budget() {
  const auto now = std::chrono::steady_clock::now();
  if (now - window_ >= 1s) {
    window_ = now;
    frames_in_window_ = 0;
  }
  return ++frames_in_window_ <= most_frames_per_second;
}

// A peer that it tells of and that is gone from the configuration is an old story, not an error.
bool TransportSupervisor::dispatch(ipc::Channel& channel, const ipc::Frame& frame) {
  if (frame.type == ipc::transport_want_frame) {
    const auto want = ipc::decode<ipc::TransportWant>(frame.body, "transport-want");
    return want && give_socket(channel, *want);
  }
  if (frame.type == ipc::transport_links_frame) {
    const auto links = ipc::decode<ipc::TransportLinks>(frame.body, "transport-links");
    if (!links || !is_rung(links->rung)) return false;
    if (knows(links->peer))
      events_.links(links->peer, tunnel::Transport(links->rung), links->links);
    return true;
  }
  if (frame.type == ipc::transport_answer_frame) {
    const auto answer = ipc::decode<ipc::TransportAnswer>(frame.body, "transport-answer");
    if (!answer || !is_rung(answer->rung)) return false;
    if (knows(answer->peer)) events_.answer(answer->peer, tunnel::Transport(answer->rung));
    return true;
  }
  if (frame.type == ipc::transport_trouble_frame) {
    const auto trouble = ipc::decode<ipc::TransportTrouble>(frame.body, "transport-trouble");
    if (!trouble || !is_rung(trouble->rung)) return false;
    if (knows(trouble->peer))
      events_.trouble(trouble->peer, tunnel::Transport(trouble->rung), trouble->why);
    return true;
  }
  if (frame.type == ipc::transport_counters_frame) {
    auto counters = ipc::decode<ipc::TransportCounters>(frame.body, "transport-counters");
    if (counters) counters_ = std::move(*counters);
    return counters.has_value();
  }
  return false;
}

bool TransportSupervisor::give_socket(ipc::Channel& channel, const ipc::TransportWant& want) {
  if (want.purpose > static_cast<std::uint32_t>(tunnel::SocketPurpose::session)) return false;
  auto socket = events_.socket(tunnel::SocketPurpose(want.purpose), want.peer);
  ipc::TransportSocket answer{want.number, {}};
  std::vector<UniqueFd> fds;
  if (socket)
    fds.push_back(std::move(*socket));
  else
    answer.error = socket.error().what;
  return send(channel, ipc::transport_socket_frame, boost::json::value_from(answer),
              std::move(fds));
}

}  // namespace oceanid::process
