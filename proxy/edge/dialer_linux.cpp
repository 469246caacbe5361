#include "proxy/edge/dialer.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// Of several failures the one nearest to the destination says most: "refused" was said by the
// destination itself, "unreachable" often only by our lack of one family.
constexpr std::array by_weight = {Reason::overloaded,
                                  Reason::source_ports_exhausted,
                                  Reason::connection_refused,
                                  Reason::connection_reset,
                                  Reason::connection_timeout,
                                  Reason::no_exit,
                                  Reason::destination_unreachable,
                                  Reason::internal_error};

// A name with fifty silent addresses must not cost fifty sockets. With the usual attempt delay the
// oldest has had two seconds then, time for its SYN to be sent again.
constexpr std::size_t most_open = 8;

// EADDRNOTAVAIL means no free source port, but for IPv6 also that this host (or device) has no
// address of its own to send from. A datagram socket, which has ports enough, tells them apart.
bool lacks_source_address(const SocketAddress& address, const std::string& device) {
  if (address.address.is_v4()) return false;
  const UniqueFd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || (!device.empty() && bind_to_device(fd.get(), device) != 0)) return false;
  return start_connect(fd.get(), address) == EADDRNOTAVAIL;
}

// What the attempts' handlers touch; shared, because a closed socket's handler still runs once.
struct Signals {
  std::vector<std::size_t> ready;
  Timer* wake = nullptr;  // null once nobody waits any more
};

class Race {
 public:
  Race(asio::io_context& io, std::vector<SocketAddress> addresses, DialOptions options)
      : io_(io),
        options_(std::move(options)),
        addresses_(interleaved(addresses)),
        wake_(io.get_executor()),
        signals_(std::make_shared<Signals>()) {
    signals_->wake = &wake_;
    if (options_.wakeups != nullptr) enrolled_.emplace(*options_.wakeups, wake_);
    std::erase_if(addresses_, [&](const SocketAddress& a) {
      return a.address.is_v4() ? !options_.exit.ipv4 : !options_.exit.ipv6;
    });
    if (options_.memory != nullptr) options_.memory->bad_ones_last(addresses_, SteadyClock::now());
    if (addresses_.empty())
      failure_ = {
          Reason::no_exit, std::nullopt,
          fmt::format("exit {} carries no address family of the destination", options_.exit.name)};
  }
  ~Race() { signals_->wake = nullptr; }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  awaitable<std::expected<Dialed, DialFailure>> run() {
    SteadyClock::time_point next_start = SteadyClock::now();
    while (next_ < addresses_.size() || open_ > 0) {
      const auto now = SteadyClock::now();
      if (now >= options_.deadline) break;
      if (next_ < addresses_.size() && (open_ == 0 || now >= next_start)) {
        start_next(now);
        next_start = now + options_.attempt_delay;
      }
      if (open_ == 0) continue;  // failed at once: the next address is due
      if (signals_->ready.empty()) {
        wake_.expires_at(next_ < addresses_.size() ? std::min(next_start, options_.deadline)
                                                   : options_.deadline);
        auto [ec] = co_await wake_.async_wait(as_result);
        // Cancelled with nothing ready: the task is being cancelled, not woken.
        if (ec && signals_->ready.empty() && !(enrolled_ && enrolled_->take_woken()))
          throw boost::system::system_error(asio::error::operation_aborted);
      }
      if (options_.give_up && options_.give_up()) {
        failure_ = {Reason::no_exit, std::nullopt, "the exit failed while connecting"};
        break;
      }
      if (auto winner = take_ready()) co_return std::move(*winner);
    }
    if (!failure_ || failure_->reason != Reason::no_exit) note_timeouts();
    co_return std::unexpected(std::move(*failure_));
  }

 private:
  struct Attempt {
    std::optional<Descriptor> socket;
    SocketAddress address;
    SteadyClock::time_point started;
  };

  void give_up_oldest() {
    for (Attempt& attempt : attempts_) {
      if (!attempt.socket) continue;
      attempt.socket.reset();
      --open_;
      return note(ETIMEDOUT, attempt.address);
    }
  }

  // Who won is good; who had a whole attempt delay and is still silent goes last next time.
  void remember(const Attempt& winner) {
    if (options_.memory == nullptr) return;
    const auto now = SteadyClock::now();
    options_.memory->succeeded(winner.address);
    for (const Attempt& attempt : attempts_)
      if (attempt.socket && &attempt != &winner && now - attempt.started >= options_.attempt_delay)
        options_.memory->failed(attempt.address, now);
  }

  // `now`: what its successor's start is counted from; a socket takes its time to make.
  void start_next(SteadyClock::time_point now) {
    if (open_ >= most_open) give_up_oldest();
    const SocketAddress address = addresses_[next_++];
    auto fd = open_stream(address.address.family());
    if (!fd) return note(fd.error(), address);
    if (!options_.exit.device.empty()) {
      if (const int error = bind_to_device(fd->get(), options_.exit.device); error != 0)
        return note(error, address, Reason::no_exit);
    }
    tune(fd->get());
    const int error = start_connect(fd->get(), address);
    if (error == EADDRNOTAVAIL && lacks_source_address(address, options_.exit.device))
      return note(error, address, Reason::destination_unreachable);
    if (error != 0 && error != EINPROGRESS) return note(error, address);
    const std::size_t index = attempts_.size();
    attempts_.push_back({watch(io_, std::move(*fd)), address, now});
    ++open_;
    attempts_.back().socket->async_wait(Descriptor::wait_write,
                                        [signals = signals_, index](error_code) {
                                          signals->ready.push_back(index);
                                          if (signals->wake != nullptr) signals->wake->cancel();
                                        });
  }

  std::optional<Dialed> take_ready() {
    for (const std::size_t index : std::exchange(signals_->ready, {})) {
      Attempt& attempt = attempts_[index];
      if (!attempt.socket) continue;
      const int error = take_error(attempt.socket->native_handle());
      if (error == 0) {
        remember(attempt);
        return Dialed{std::move(*attempt.socket), attempt.address};
      }
      attempt.socket.reset();
      --open_;
      note(error, attempt.address);
    }
    return std::nullopt;
  }

  void note_timeouts() {
    for (const Attempt& attempt : attempts_)
      if (attempt.socket) note(ETIMEDOUT, attempt.address);
    if (!failure_) failure_ = DialFailure{Reason::connection_timeout, std::nullopt, {}};
  }

  void note(int error, const SocketAddress& address) {
    note(error, address, reason_of_errno(error));
  }
  void note(int error, const SocketAddress& address, Reason reason) {
    // What is our own lack (ports, descriptors, the exit's device) says nothing about the address.
    if (options_.memory != nullptr &&
        (reason == Reason::connection_refused || reason == Reason::connection_reset ||
         reason == Reason::connection_timeout || reason == Reason::destination_unreachable))
      options_.memory->failed(address, SteadyClock::now());
    const auto weight = [](Reason r) { return std::ranges::find(by_weight, r); };
    if (failure_ && weight(failure_->reason) <= weight(reason)) return;
    failure_ = DialFailure{reason, address,
                           fmt::format("{}: {}", address.to_string(), std::strerror(error))};
  }

  asio::io_context& io_;
  DialOptions options_;
  std::vector<SocketAddress> addresses_;
  std::size_t next_ = 0;
  std::vector<Attempt> attempts_;
  std::size_t open_ = 0;
  std::optional<DialFailure> failure_;
  Timer wake_;
  std::shared_ptr<Signals> signals_;
  std::optional<Wakeups::Member> enrolled_;
};

}  // namespace

std::vector<SocketAddress> interleaved(const std::vector<SocketAddress>& addresses) {
  std::array<std::vector<SocketAddress>, 2> families;
  for (const auto& address : addresses)
    families[address.address.is_v4() ? 1 : 0].push_back(address);
  std::vector<SocketAddress> out;
  for (std::size_t i = 0; i < std::max(families[0].size(), families[1].size()); ++i)
    for (const auto& family : families)
      if (i < family.size()) out.push_back(family[i]);
  return out;
}

Reason reason_of_errno(int error) {
  switch (error) {
    case ECONNREFUSED:
      return Reason::connection_refused;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
      return Reason::connection_reset;
    case ETIMEDOUT:
      return Reason::connection_timeout;
    case EADDRNOTAVAIL:
    case EAGAIN:  // connect(2): no free local port
      return Reason::source_ports_exhausted;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Reason::overloaded;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EACCES:  // a firewall's verdict or an "unreachable"/"prohibit" route
    case EPERM:
    case EINVAL:  // an address that cannot be connected to from here (scope, family)
    case EAFNOSUPPORT:
    case ENODEV:
      return Reason::destination_unreachable;
    default:
      return Reason::internal_error;
  }
}

awaitable<std::expected<Dialed, DialFailure>> dial(asio::io_context& io,
                                                   std::vector<SocketAddress> addresses,
                                                   DialOptions options) {
  Race race(io, std::move(addresses), std::move(options));
  co_return co_await race.run();
}

}  // namespace oceanid::proxy
