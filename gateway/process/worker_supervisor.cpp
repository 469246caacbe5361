#include "gateway/process/worker_supervisor.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/launcher.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <fcntl.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto first_backoff = 50ms;
constexpr auto longest_backoff = 5s;
constexpr auto question_patience = 20s;
constexpr auto start_patience = 5s;  // for a worker that is just starting
constexpr auto look_again = 50ms;
constexpr auto settled_after = 10s;  // a worker that lived this long starts a new count

// Holds the channel while its writer runs: a replaced worker's channel must outlive its last wait.
awaitable<void> write_for(std::shared_ptr<ipc::Channel> channel) {
  co_await channel->write_loop();
}

UniqueFd duplicate(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

}  // namespace

WorkerSupervisor::WorkerSupervisor(asio::io_context& io, LauncherClient& launcher,
                                   const ListenerSet& listeners, Events events)
    : io_(io),
      launcher_(launcher),
      listeners_(listeners),
      events_(std::move(events)),
      ended_(io),
      writers_(io.get_executor()),
      tasks_(io.get_executor()) {
  ended_.expires_at(asio::steady_timer::time_point::max());
}

void WorkerSupervisor::start(WorkerConfiguration configuration) {
  configuration_ = std::move(configuration);
  tasks_.spawn("worker supervisor", run_workers());
}

void WorkerSupervisor::reconfigure(WorkerConfiguration configuration) {
  configuration_ = std::move(configuration);
  if (worker_ && !(send_listeners(*worker_) && send_configuration(*worker_))) worker_->close();
}

void WorkerSupervisor::send(std::string_view type, boost::json::value body,
                            std::vector<UniqueFd> fds) {
  if (!worker_) return;
  ipc::Frame frame;
  frame.type = type;
  frame.body = std::move(body);
  frame.fds = std::move(fds);
  if (auto sent = worker_->send(std::move(frame)); !sent && sent.error().code == Errc::limit) {
    log::error("gateway", "the worker does not read its messages; replacing it");
    worker_->close();
  }
}

void WorkerSupervisor::send_exits(const ExitTable& exits) {
  exits_ = boost::json::value_from(exits);
  send(ipc::exits_frame, exits_);
}

void WorkerSupervisor::send_snapshot(const ipc::GatewaySnapshot& snapshot) {
  if (ready_) send(ipc::snapshot_frame, boost::json::value_from(snapshot));
}

void WorkerSupervisor::request_names(const std::vector<std::string>& names,
                                     const std::vector<std::string>& urgent) {
  auto wanted = boost::json::value_from(ipc::Resolve{names, urgent});
  if (wanted == names_) return;
  names_ = std::move(wanted);
  send(ipc::resolve_frame, names_);
}

Result<std::shared_ptr<ipc::Channel>> WorkerSupervisor::launch() {
  auto socket = launcher_.launch(worker_kind, configuration_.user);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::make_shared<ipc::Channel>(io_.get_executor(), std::move(*socket));
}

awaitable<void> WorkerSupervisor::run_workers() {
  auto backoff = std::chrono::steady_clock::duration(first_backoff);
  for (;;) {
    const auto began = std::chrono::steady_clock::now();
    if (auto channel = launch()) {
      worker_ = *channel;
      writers_.spawn("worker writer", write_for(worker_));
      if (send_listeners(*worker_) && send_configuration(*worker_)) {
        if (!exits_.is_null()) send(ipc::exits_frame, exits_);
        if (!names_.is_null()) send(ipc::resolve_frame, names_);
        co_await serve(worker_);
      }
      worker_->close();
      worker_.reset();
    } else {
      log::error("gateway", "cannot start a worker", {{"error", channel.error().what}});
    }
    ready_ = false;
    answered_ = 0;
    fail_questions();
    ended_.cancel();
    if (draining_) co_return;
    ++restarts_;
    events_.ended("the worker ended unexpectedly");
    if (launcher_.gone()) {
      events_.stranded();
      co_return;
    }
    if (std::chrono::steady_clock::now() - began > settled_after) backoff = first_backoff;
    co_await sleep_for(backoff);
    if (draining_) co_return;
    backoff = std::min<std::chrono::steady_clock::duration>(backoff * 2, longest_backoff);
  }
}

bool WorkerSupervisor::send_listeners(ipc::Channel& channel) {
  constexpr std::size_t batch = ipc::max_fds_per_frame - 4;
  const auto& wanted = configuration_.listeners;
  for (std::size_t at = 0; at < wanted.size(); at += batch) {
    ipc::Frame frame;
    frame.type = ipc::listeners_frame;
    ipc::Listeners body;
    for (std::size_t i = at; i < std::min(wanted.size(), at + batch); ++i) {
      const auto socket = listeners_.sockets().find(wanted[i].tag.key);
      if (socket == listeners_.sockets().end()) continue;
      body.tags.push_back(wanted[i].tag);
      frame.fds.push_back(duplicate(socket->second.get()));
    }
    frame.body = boost::json::value_from(body);
    if (!channel.send(std::move(frame))) return false;
  }
  return true;
}

// The text, then the secret files in the order of the message.
Result<std::vector<UniqueFd>> WorkerSupervisor::attachments(
    const WorkerConfiguration& configuration) {
  std::vector<UniqueFd> out;
  auto text = ipc::make_memfd("oceanid-configuration", configuration.text);
  if (!text) return std::unexpected(std::move(text.error()));
  out.push_back(std::move(*text));
  for (const auto& file : configuration.files) {
    out.push_back(duplicate(file.get()));
    if (!out.back()) return fail_errno("duplicate a descriptor");
  }
  return out;
}

awaitable<Result<void>> WorkerSupervisor::check(const WorkerConfiguration& configuration) {
  const auto until = std::chrono::steady_clock::now() + start_patience;
  while (!ready_ && std::chrono::steady_clock::now() < until)
    co_await sleep_for(look_again);
  auto attached = attachments(configuration);
  if (!attached) co_return std::unexpected(std::move(attached.error()));
  auto answer = co_await ask(std::string(check_question),
                             boost::json::value_from(configuration.message), std::move(*attached));
  if (!answer) co_return std::unexpected(std::move(answer.error()));
  co_return Result<void>();
}

bool WorkerSupervisor::send_configuration(ipc::Channel& channel) {
  ipc::Frame frame;
  frame.type = ipc::configure_frame;
  configuration_.message.keys.clear();
  for (const auto& wanted : configuration_.listeners)
    configuration_.message.keys.push_back(wanted.tag.key);
  frame.body = boost::json::value_from(configuration_.message);
  auto attached = attachments(configuration_);
  if (!attached) return false;
  frame.fds = std::move(*attached);
  return channel.send(std::move(frame)).has_value();
}

awaitable<void> WorkerSupervisor::serve(std::shared_ptr<ipc::Channel> channel) {
  for (;;) {
    auto frame = co_await channel->receive();
    if (!frame) co_return;
    if (!dispatch(*frame)) {
      log::error("gateway", "the worker sent a message that makes no sense; replacing it",
                 {{"type", frame->type}});
      co_return;
    }
  }
}

bool WorkerSupervisor::dispatch(const ipc::Frame& frame) {
  if (frame.type == ipc::ready_frame) {
    auto ready = ipc::decode<ipc::Ready>(frame.body, "ready");
    // One for each configuration that we sent; more would be a stranger's way to keep us busy.
    if (!ready || ready->generation <= answered_ ||
        ready->generation > configuration_.message.generation)
      return false;
    answered_ = ready->generation;
    ready_ = ready->error.empty();
    events_.ready(*ready);
    return true;
  }
  if (frame.type == ipc::counters_frame) {
    auto counters = ipc::decode<ipc::Counters>(frame.body, "counters");
    if (counters) events_.counters(*counters);
    return counters.has_value();
  }
  if (frame.type == ipc::probes_frame) {
    auto probes = ipc::decode<ipc::Probes>(frame.body, "probes");
    if (probes) events_.probes(*probes);
    return probes.has_value();
  }
  if (frame.type == ipc::resolved_frame) {
    auto resolved = ipc::decode<ipc::Resolved>(frame.body, "resolved");
    if (resolved) events_.resolved(*resolved);
    return resolved.has_value();
  }
  if (frame.type == ipc::answer_frame) return take_answer(frame.body);
  return false;
}

bool WorkerSupervisor::take_answer(const boost::json::value& body) {
  auto answer = ipc::decode<ipc::Answer>(body, "answer");
  if (!answer) return false;
  const auto question = questions_.find(answer->number);
  if (question == questions_.end()) return true;  // it came after our patience
  Pending& pending = *question->second;
  if (answer->error.empty())
    pending.answer.emplace(std::move(answer->result));
  else
    pending.answer.emplace(fail(Errc::invalid_argument, std::move(answer->error)));
  pending.answered.cancel();
  return true;
}

void WorkerSupervisor::fail_questions() {
  for (const auto& [number, pending] : questions_) {
    pending->answer.emplace(fail(Errc::closed, "the worker ended before it answered; ask again"));
    pending->answered.cancel();
  }
}

awaitable<Result<boost::json::value>> WorkerSupervisor::ask(std::string command,
                                                            boost::json::value arguments,
                                                            std::vector<UniqueFd> fds) {
  if (!ready_) co_return fail(Errc::closed, "the worker is not ready yet; ask again in a moment");
  Pending pending(io_);
  const std::uint64_t number = ++last_question_;
  questions_.emplace(number, &pending);
  send(ipc::question_frame,
       boost::json::value_from(ipc::Question{number, std::move(command), std::move(arguments)}),
       std::move(fds));
  pending.answered.expires_after(question_patience);
  if (!pending.answer) static_cast<void>(co_await pending.answered.async_wait(as_result));
  questions_.erase(number);
  if (!pending.answer)
    co_return fail(Errc::timeout,
                   fmt::format("the worker did not answer within {} s", question_patience.count()));
  co_return std::move(*pending.answer);
}

awaitable<bool> WorkerSupervisor::drain(std::chrono::milliseconds patience) {
  draining_ = true;
  launcher_.expect_ends();
  send(ipc::drain_frame, nullptr);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (worker_ && std::chrono::steady_clock::now() < deadline) {
    ended_.expires_at(deadline);
    auto [ec] = co_await ended_.async_wait(as_result);
    static_cast<void>(ec);  // cancelled: the worker ended; expired: the deadline
  }
  co_return worker_ == nullptr;
}

awaitable<void> WorkerSupervisor::stop() {
  draining_ = true;
  if (worker_) worker_->close();
  co_await tasks_.stop();
  co_await writers_.stop();
}

}  // namespace oceanid::process
