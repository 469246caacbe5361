#include "proxy/edge/relay.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

namespace oceanid::proxy {
namespace {

constexpr int rounds_per_wake = 16;  // at most 1 MiB copied or 4 MiB spliced before others' turn
// A flow that reads this much in large pieces is bulk; below, splice(2) costs more than it saves.
constexpr std::uint32_t bulk_after = 64 << 10;
constexpr std::size_t large_read = 16 << 10;
constexpr std::size_t splice_size = 256 << 10;

}  // namespace

std::string_view to_string(ClosedBy who) {
  switch (who) {
    case ClosedBy::client:
      return "client";
    case ClosedBy::server:
      return "server";
    case ClosedBy::idle:
      return "idle";
    case ClosedBy::limit:
      return "limit";
    case ClosedBy::drain:
      return "drain";
    case ClosedBy::proxy:
      return "proxy";
  }
  return "proxy";
}

Relay::Relay(RelayPool& pool, Descriptor client, Descriptor server, RelayTimeouts timeouts,
             Done done)
    : pool_(pool),
      legs_{std::move(client), std::move(server)},
      timer_(legs_[0].get_executor()),
      timeouts_(timeouts),
      last_activity_(SteadyClock::now()),
      done_(std::move(done)) {}

Relay::~Relay() {
  for (Flow& flow : flows_)
    release_pipe(flow);
}

void Relay::start(std::string early, std::string greeting) {
  count(up, early.size());
  if (!early.empty()) flows_[up].held = std::make_unique<Held>(std::move(early));
  if (!greeting.empty()) flows_[down].held = std::make_unique<Held>(std::move(greeting));
  arm_timer();  // keeps a handler pending for as long as the relay lives
  begin(down);
  if (!ended_) begin(up);
}

// Nothing has been sent in answer yet, most likely: waiting first spares a fruitless read each.
void Relay::begin(std::size_t i) {
  switch (flush(i)) {
    case Step::wait_write:
      return wait_write(i);
    case Step::go_on:
    case Step::wait_read:
    case Step::wait_budget:
      return wait_read(i);
    case Step::stopped:
      return;
  }
}

void Relay::cut(ClosedBy why, bool reset) {
  if (ended_) return;
  closed_by_ = why;
  closed_by_known_ = true;
  was_reset_ = reset;
  if (reset)
    for (Descriptor& leg : legs_)
      reset_on_close(leg.native_handle());
  end();
}

void Relay::pump(std::size_t i) {
  Flow& flow = flows_[i];
  for (int round = 0; round < rounds_per_wake; ++round) {
    Step step = flush(i);
    if (step == Step::go_on) {
      if (flow.at_end) return pass_end_on(i);
      step = fill(i);
    }
    switch (step) {
      case Step::go_on:
        break;
      case Step::wait_read:
        release_pipe(flow);
        return wait_read(i);
      case Step::wait_write:
        return wait_write(i);
      case Step::wait_budget:
        return wait_budget(i);
      case Step::stopped:
        return;
    }
  }
  // The turn is over with work left: readiness is reported again after the others' turns.
  if (flow.held || flow.in_pipe > 0) return wait_write(i);
  wait_read(i);
}

Relay::Step Relay::flush(std::size_t i) {
  if (flows_[i].held) return flush_held(i);
  if (flows_[i].in_pipe > 0) return flush_pipe(i);
  return Step::go_on;
}

Relay::Step Relay::flush_held(std::size_t i) {
  Held& held = *flows_[i].held;
  while (held.sent < held.bytes.size()) {
    const ssize_t sent = send_some(to(i), std::string_view(held.bytes).substr(held.sent));
    if (sent == -EAGAIN) return Step::wait_write;
    if (sent < 0) return on_send_error(i);
    held.sent += static_cast<std::size_t>(sent);
  }
  flows_[i].held.reset();
  return Step::go_on;
}

Relay::Step Relay::flush_pipe(std::size_t i) {
  Flow& flow = flows_[i];
  while (flow.in_pipe > 0) {
    const ssize_t sent = ::splice(flow.pipe->out.get(), nullptr, to(i), nullptr, flow.in_pipe,
                                  SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent > 0) {
      flow.in_pipe -= static_cast<std::uint32_t>(sent);
      continue;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return Step::wait_write;
    return on_send_error(i);
  }
  return Step::go_on;
}

Relay::Step Relay::fill(std::size_t i) {
  Flow& flow = flows_[i];
  if (throttle_) return fill_by_budget(i);
  if (flow.splicing && !flow.pipe) {
    auto pipe = pool_.borrow_pipe();
    if (pipe)
      flow.pipe = std::make_unique<Pipe>(std::move(*pipe));
    else
      flow.splicing = false;
  }
  return flow.splicing ? fill_by_splice(i) : fill_by_copy(i);
}

Relay::Step Relay::fill_by_copy(std::size_t i) {
  Flow& flow = flows_[i];
  const auto scratch = pool_.scratch();
  const ssize_t got = recv_some(from(i), scratch.data(), scratch.size());
  if (got <= 0) return on_read_end(i, got);
  const std::string_view bytes(scratch.data(), static_cast<std::size_t>(got));
  count(i, bytes.size());
  flow.streak =
      bytes.size() >= large_read ? flow.streak + static_cast<std::uint32_t>(bytes.size()) : 0;
  if (flow.streak >= bulk_after) {
    flow.splicing = true;
    flow.slowing = false;
    flow.streak = 0;
  }
  const Step step = hand_over(i, bytes);
  if (step != Step::go_on) return step;
  // A short read has emptied the socket: waiting costs less than being told EAGAIN. If more came
  // meanwhile, the wait ends at once (it re-arms the edge).
  return bytes.size() < scratch.size() ? Step::wait_read : Step::go_on;
}

// To the receiver what it takes; the rest is held.
Relay::Step Relay::hand_over(std::size_t i, std::string_view bytes) {
  const ssize_t sent = send_some(to(i), bytes);
  if (sent < 0 && sent != -EAGAIN) return on_send_error(i);
  const auto done = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
  if (done == bytes.size()) return Step::go_on;
  flows_[i].held = std::make_unique<Held>(std::string(bytes.substr(done)));
  return Step::wait_write;
}

Relay::Step Relay::fill_by_budget(std::size_t i) {
  const auto scratch = pool_.scratch();
  const std::size_t may = throttle_->take(scratch.size());
  if (may == 0) return Step::wait_budget;
  const ssize_t got = recv_some(from(i), scratch.data(), may);
  const auto used = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  if (used < may) throttle_->give_back(may - used);
  if (got <= 0) return on_read_end(i, got);
  count(i, used);
  return hand_over(i, std::string_view(scratch.data(), used));
}

Relay::Step Relay::fill_by_splice(std::size_t i) {
  Flow& flow = flows_[i];
  // The pipe is empty here, so EAGAIN can only mean that the socket is.
  ssize_t got = 0;
  do {
    got = ::splice(from(i), nullptr, flow.pipe->in.get(), nullptr, splice_size,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EINVAL) {  // not a socket that splices: copy from now on
    flow.splicing = false;
    return Step::go_on;
  }
  if (got <= 0) return on_read_end(i, got < 0 ? -errno : 0);
  count(i, static_cast<std::size_t>(got));
  flow.in_pipe = static_cast<std::uint32_t>(got);
  const bool small = static_cast<std::size_t>(got) < large_read;
  if (small && flow.slowing) flow.splicing = false;  // twice in a row: bulk is over
  flow.slowing = small;
  return Step::go_on;
}

// Nothing to read, the end of the stream, or an error, by recv's and splice's common result.
Relay::Step Relay::on_read_end(std::size_t i, ssize_t result) {
  if (result == -EAGAIN) return Step::wait_read;
  note_first(i == up ? ClosedBy::client : ClosedBy::server);
  if (result == 0) {
    flows_[i].at_end = true;
    return Step::go_on;
  }
  was_reset_ = true;
  reset_on_close(to(i));
  end();
  return Step::stopped;
}

// The receiver is gone, but what it sent before may still lie in our receive queue: the other flow
// goes on until it has read the end (or the reset), then both are ended.
Relay::Step Relay::on_send_error(std::size_t i) {
  Flow& flow = flows_[i];
  Flow& other = flows_[1 - i];
  note_first(i == up ? ClosedBy::server : ClosedBy::client);
  flow.broken = true;
  flow.held.reset();
  release_pipe(flow);
  if (other.finished || other.broken || other.at_end) {
    was_reset_ = true;
    reset_on_close(from(i));
    if (!other.at_end || other.finished) end();
    return Step::stopped;
  }
  const bool paused = other.pause && other.pause->expiry() > SteadyClock::now();
  if (!other.reading && !other.writing && !paused) wait_read(1 - i);
  return Step::stopped;
}

void Relay::count(std::size_t i, std::size_t bytes) {
  flows_[i].bytes += bytes;
  if (i == up) return pool_.count_up(bytes);
  pool_.count_down(bytes);
  if (!first_byte_ && bytes > 0) first_byte_ = SteadyClock::now();
}

void Relay::pass_end_on(std::size_t i) {
  Flow& flow = flows_[i];
  Flow& other = flows_[1 - i];
  flow.finished = true;
  release_pipe(flow);
  if (other.broken) {  // the other side of this leg was gone already: all was read, now the end
    was_reset_ = true;
    reset_on_close(to(i));
    return end();
  }
  finish_sending(to(i));
  if (other.finished) return end();
  last_activity_ = SteadyClock::now();
  arm_timer();
  watch_for_reset(i);
}

void Relay::wait_read(std::size_t i) {
  if (std::exchange(flows_[i].reading, true)) return;
  ++pending_;
  legs_[i].async_wait(Descriptor::wait_read, [this, i](error_code) {
    flows_[i].reading = false;
    if (!ended_ && !flows_[i].broken) {
      last_activity_ = SteadyClock::now();
      pump(i);
    }
    leave();
  });
}

void Relay::wait_write(std::size_t i) {
  if (std::exchange(flows_[i].writing, true)) return;
  ++pending_;
  legs_[1 - i].async_wait(Descriptor::wait_write, [this, i](error_code) {
    flows_[i].writing = false;
    if (!ended_ && !flows_[i].broken) {
      last_activity_ = SteadyClock::now();
      pump(i);
    }
    leave();
  });
}

void Relay::wait_budget(std::size_t i) {
  auto& pause = flows_[i].pause;
  if (!pause) pause = std::make_unique<Timer>(legs_[0].get_executor());
  pause->expires_after(throttle_->wait());
  ++pending_;
  pause->async_wait([this, i](error_code ec) {
    if (!ended_ && !ec && !flows_[i].broken) {
      last_activity_ = SteadyClock::now();
      pump(i);
    }
    leave();
  });
}

// After its FIN nobody reads from this leg any more, so a reset would go unnoticed until the next
// byte for it. Re-armed never: what else sets the error condition ends the tunnel by itself.
void Relay::watch_for_reset(std::size_t i) {
  ++pending_;
  legs_[i].async_wait(Descriptor::wait_error, [this, i](error_code) {
    if (!ended_ && take_error(from(i)) != 0) {
      was_reset_ = true;
      reset_on_close(to(i));
      end();
    }
    leave();
  });
}

// Not moved on every byte: when it fires it looks at the last activity and sleeps on.
void Relay::arm_timer() {
  const bool half = flows_[up].finished || flows_[down].finished;
  const auto limit = half ? std::min(timeouts_.fin, timeouts_.idle) : timeouts_.idle;
  timer_.expires_at(last_activity_ + limit);
  ++pending_;
  timer_.async_wait([this](error_code ec) {
    if (!ended_ && !ec) on_timer();
    leave();
  });
}

void Relay::on_timer() {
  const bool half = flows_[up].finished || flows_[down].finished;
  const auto limit = half ? std::min(timeouts_.fin, timeouts_.idle) : timeouts_.idle;
  if (SteadyClock::now() < last_activity_ + limit) return arm_timer();
  cut(ClosedBy::idle, /*reset=*/false);
}

void Relay::release_pipe(Flow& flow) {
  if (!flow.pipe) return;
  if (flow.in_pipe > 0)
    pool_.drop(std::move(*flow.pipe));
  else
    pool_.give_back(std::move(*flow.pipe));
  flow.pipe.reset();
  flow.in_pipe = 0;
}

void Relay::note_first(ClosedBy who) {
  if (std::exchange(closed_by_known_, true)) return;
  closed_by_ = who;
}

void Relay::end() {
  ended_ = true;
  for (Flow& flow : flows_) {
    flow.held.reset();
    release_pipe(flow);
    if (flow.pause) flow.pause->cancel();
  }
  error_code ignored;
  for (Descriptor& leg : legs_)
    leg.close(ignored);
  timer_.cancel();
}

void Relay::leave() {
  --pending_;
  if (!ended_ || pending_ > 0) return;
  const Done done = std::move(done_);  // the relay, and with it its member, may end inside the call
  done(*this);
}

}  // namespace oceanid::proxy
