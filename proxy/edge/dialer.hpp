#pragma once
// Opens a TCP connection to the first address of a list that answers, RFC 8305: families in turn,
// a new attempt every `attempt_delay` or as soon as one has failed, the first to connect wins and
// the others are closed. Addresses that failed lately go last. At most eight attempts are open at a
// time; the oldest gives way. One thread.

#include "proxy/core/answer.hpp"
#include "proxy/core/bad_addresses.hpp"
#include "proxy/edge/exit_choice.hpp"
#include "proxy/edge/socket_linux.hpp"
#include "proxy/edge/wakeups.hpp"

#include <chrono>
#include <expected>
#include <functional>
#include <optional>
#include <vector>

namespace oceanid::proxy {

struct DialOptions {
  ExitChoice exit;  // every socket is bound to its device; families that it lacks are skipped
  std::chrono::milliseconds attempt_delay{250};
  SteadyClock::time_point deadline;
  // Asked after every wake-up: true ends the race with no_exit (the exit has died meanwhile).
  std::function<bool()> give_up;
  BadAddresses* memory = nullptr;  // asked and told; none: nothing is remembered
  Wakeups* wakeups = nullptr;      // who wakes when it is worth asking; none: nobody
};

struct Dialed {
  Descriptor socket;
  SocketAddress address;
};

struct DialFailure {
  Reason reason = Reason::internal_error;
  std::optional<SocketAddress> address;  // the attempt that this is about
  std::string detail;                    // empty: nothing to add to the reason's own sentence
};

// IPv6 and IPv4 in turn, IPv6 first, the order inside each family kept (RFC 8305 section 4).
std::vector<SocketAddress> interleaved(const std::vector<SocketAddress>& addresses);

Reason reason_of_errno(int error);

awaitable<std::expected<Dialed, DialFailure>> dial(asio::io_context& io,
                                                   std::vector<SocketAddress> addresses,
                                                   DialOptions options);

}  // namespace oceanid::proxy
