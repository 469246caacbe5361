#pragma once
// One name asked of the name servers: its candidates (search list) one after the other, A and AAAA
// of each in parallel. When one family has answered, the other gets 50 ms more (RFC 8305 section 3,
// resolution delay); what comes later still reaches finished().
//
// An outage is never taken for "does not exist": a candidate whose servers fail is passed over as
// the C library does, but then the result is at best that failure or an address that is kept
// for a second; a time-out ends the search. One thread.

#include "proxy/core/dns_cache.hpp"
#include "proxy/core/dns_reply.hpp"
#include "proxy/edge/ares_channel.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

struct LookupOutcome {
  ResolveResult result;
  std::chrono::seconds ttl{};
  bool certain = true;  // false: the servers failed; a result without addresses says nothing
};

class DnsLookup : public std::enable_shared_from_this<DnsLookup> {
 public:
  struct Listener {
    std::function<void(ResolveResult)> settled;   // there are addresses; at most once
    std::function<void(LookupOutcome)> finished;  // exactly once unless dropped, also if settled
  };
  // No candidate is begun after `deadline`.
  DnsLookup(asio::io_context& io, std::vector<std::string> candidates,
            SteadyClock::time_point deadline, Listener listener);

  // The listener may be called before this returns. The channel outlives the look-up, or drop() is
  // called first.
  void start(AresChannel& channel);
  void drop() { listener_ = {}; }  // nobody is told anything any more

 private:
  struct Part {
    bool done = false;
    int status = 0;
    DnsReply reply;
    bool answered() const;
  };

  void next();
  void ask(Family family, Part& part);
  void on_part(Part& part, int status);
  void wait_for_the_other();
  void decide();
  void give_up_on(const Part& failed);
  void conclude();
  Addresses addresses() const;
  bool dropped() const { return !listener_.finished; }
  void finish(LookupOutcome outcome);

  asio::io_context& io_;
  std::vector<std::string> candidates_;
  SteadyClock::time_point deadline_;
  Listener listener_;
  AresChannel* channel_ = nullptr;
  std::size_t at_ = 0;
  Part v4_;
  Part v6_;
  std::unique_ptr<Timer> patience_;
  // Of the candidates so far:
  std::optional<ResolveFailure> failure_;
  bool exists_ = false;            // one has records, though no address
  std::chrono::seconds none_ttl_;  // how long it holds that they have none
};

}  // namespace oceanid::proxy
