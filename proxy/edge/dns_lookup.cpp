#include "proxy/edge/dns_lookup.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;
using Outcome = DnsReply::Outcome;

constexpr auto resolution_delay = 50ms;  // RFC 8305 section 8

// The longest that "there is none" holds: after it, a name that was passed over in the search list
// must be seen.
const std::chrono::seconds longest_none = none_kept_for(24h);

ResolveFailure failure_of(int status) {
  if (status == ARES_ETIMEOUT) return {Reason::dns_timeout, "no name server answered in time"};
  if (status == ARES_EBADRESP)
    return {Reason::dns_error, "the name server's answer cannot be read"};
  // What c-ares says, too, when every server has answered SERVFAIL or REFUSED.
  if (status == ARES_ECONNREFUSED)
    return {Reason::dns_error, "the name servers failed or cannot be reached"};
  return {Reason::dns_error, fmt::format("the name servers failed: {}", ares_strerror(status))};
}

}  // namespace

DnsLookup::DnsLookup(asio::io_context& io, std::vector<std::string> candidates,
                     SteadyClock::time_point deadline, Listener listener)
    : io_(io),
      candidates_(std::move(candidates)),
      deadline_(deadline),
      listener_(std::move(listener)),
      none_ttl_(longest_none) {}

bool DnsLookup::Part::answered() const {
  return done && status == ARES_SUCCESS;
}

void DnsLookup::start(AresChannel& channel) {
  channel_ = &channel;
  next();
}

void DnsLookup::next() {
  if (at_ == candidates_.size()) return conclude();
  if (at_ > 0 && SteadyClock::now() >= deadline_) {
    failure_ = failure_of(ARES_ETIMEOUT);
    return conclude();
  }
  v4_ = {};
  v6_ = {};
  // Both are marked as open before either is asked: c-ares may answer at once.
  ask(Family::v4, v4_);
  ask(Family::v6, v6_);
}

void DnsLookup::ask(Family family, Part& part) {
  if (dropped()) return;
  channel_->ask(candidates_[at_], family,
                [self = shared_from_this(), name = candidates_[at_], family, &part](
                    int status, std::string_view bytes) {
                  if (self->dropped()) return;
                  // c-ares has told NXDOMAIN and "no data" apart already; what counts is the reply.
                  const bool said =
                      status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND;
                  if (said && !bytes.empty()) {
                    auto reply = read_dns_reply(bytes, name, family);
                    status = reply ? ARES_SUCCESS : ARES_EBADRESP;
                    if (reply) part.reply = std::move(*reply);
                  } else if (status == ARES_ENOTFOUND) {  // .onion is never asked (RFC 7686)
                    status = ARES_SUCCESS;
                    part.reply.outcome = Outcome::no_name;
                  }
                  self->on_part(part, status);
                });
}

void DnsLookup::on_part(Part& part, int status) {
  part.done = true;
  part.status = status;
  if (v4_.done && v6_.done) return decide();
  if (part.answered() && !part.reply.addresses.empty()) wait_for_the_other();
}

void DnsLookup::wait_for_the_other() {
  patience_ = std::make_unique<Timer>(io_.get_executor());
  patience_->expires_after(resolution_delay);
  patience_->async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (ec || !self || !self->listener_.settled) return;
    std::exchange(self->listener_.settled, {})(self->addresses());
  });
}

Addresses DnsLookup::addresses() const {
  Addresses out = v6_.reply.addresses;
  out.insert(out.end(), v4_.reply.addresses.begin(), v4_.reply.addresses.end());
  return out;
}

void DnsLookup::decide() {
  const bool both = v4_.answered() && v6_.answered();
  if (auto found = addresses(); !found.empty()) {
    auto ttl = 24h + 0s;
    for (const Part* part : {&v4_, &v6_})
      if (!part->reply.addresses.empty()) ttl = std::min(ttl, kept_for(*part->reply.ttl));
    if (at_ > 0) ttl = std::min(ttl, longest_none);
    // Half an answer, or one behind a candidate that may exist, is not kept beyond the moment.
    const bool certain = both && !failure_;
    return finish({std::move(found), certain ? ttl : kept_for(0s), certain});
  }
  if (!both) return give_up_on(v4_.answered() ? v6_ : v4_);
  for (const Part* part : {&v4_, &v6_}) {
    none_ttl_ = std::min(none_ttl_, none_kept_for(part->reply.ttl));
    exists_ = exists_ || part->reply.outcome == Outcome::no_data;
  }
  ++at_;
  next();
}

void DnsLookup::give_up_on(const Part& failed) {
  if (!failure_ || failed.status == ARES_ETIMEOUT) failure_ = failure_of(failed.status);
  const bool others_may_answer =
      failed.status == ARES_ECONNREFUSED || failed.status == ARES_EBADRESP;
  at_ = others_may_answer ? at_ + 1 : candidates_.size();
  next();
}

void DnsLookup::conclude() {
  if (failure_) return finish({std::unexpected(std::move(*failure_)), 0s, false});
  finish({std::unexpected(ResolveFailure{
              Reason::dns_error, exists_ ? "the name has no address" : "the name does not exist"}),
          none_ttl_, true});
}

void DnsLookup::finish(LookupOutcome outcome) {
  patience_.reset();
  const Listener told = std::exchange(listener_, {});
  told.finished(std::move(outcome));
}

}  // namespace oceanid::proxy
