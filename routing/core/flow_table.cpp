#include "routing/core/flow_table.hpp"

#include <algorithm>

namespace oceanid::routing {
namespace {

constexpr std::size_t buckets_at_once = 4096;

bool has_ended(const Flow& flow) {
  return flow.tcp_state == TcpState::time_wait || flow.tcp_state == TcpState::close;
}

bool is_answered(const Flow& flow) {
  if (flow.original.protocol != tcp_number) return true;
  return flow.tcp_state != TcpState::syn_sent && flow.tcp_state != TcpState::syn_sent2 &&
         flow.tcp_state != TcpState::none;
}

}  // namespace

// All the room for buckets at once (2 MiB): a table that is never hashed anew can be walked in
// parts while it changes.
FlowTable::FlowTable(std::size_t limit) : limit_(limit) {
  flows_.reserve(limit);
}

void FlowTable::follow(const IfName& device) {
  if (device_ == device) return;
  const bool first = !device_.has_value();
  device_ = device;
  if (first) return;  // what is known already is taken to go there
  ++way_;
  current_ = 0;
  bucket_ = 0;
}

// What has had no answer yet sends its first packet again, by the new way.
void FlowTable::stay(Entry& entry) {
  if (entry.way == way_) return;
  entry.way = way_;
  ++current_;
}

FlowTable::Taken FlowTable::take_left_behind(std::size_t count) {
  Taken out;
  const std::size_t end = std::min(bucket_ + buckets_at_once, flows_.bucket_count());
  for (; bucket_ < end && left_behind() > 0 && out.flows.size() < count; ++bucket_) {
    std::vector<FlowTuple> found;
    for (auto at = flows_.begin(bucket_); at != flows_.end(bucket_); ++at) {
      if (!at->second.answered)
        stay(at->second);
      else if (at->second.way != way_)
        found.push_back(at->first);
    }
    for (const FlowTuple& tuple : found) {
      const auto at = flows_.find(tuple);
      Flow& flow = out.flows.emplace_back();
      flow.original = tuple;
      flow.id = at->second.id;
      flows_.erase(at);
    }
  }
  out.complete = left_behind() == 0 || bucket_ == flows_.bucket_count();
  if (out.complete) bucket_ = 0;
  return out;
}

std::vector<Flow> FlowTable::some(std::size_t& from) const {
  std::vector<Flow> out;
  const std::size_t end = std::min(from + buckets_at_once / 16, flows_.bucket_count());
  for (; from < end; ++from)
    for (auto at = flows_.begin(from); at != flows_.end(from); ++at)
      if (at->second.way == way_) {
        Flow& flow = out.emplace_back();
        flow.original = at->first;
        flow.id = at->second.id;
      }
  if (from == flows_.bucket_count()) from = 0;
  return out;
}

void FlowTable::remember(const Flow& flow, bool may_be_new) {
  if (!scope_.follows_active(flow)) return;
  auto at = flows_.find(flow.original);
  // With another number it is another one, and the end of the former was not told of.
  if (at != flows_.end() && at->second.id != flow.id) {
    forget(at);
    at = flows_.end();
  }
  if (at == flows_.end()) {
    if (!may_be_new) return;
    if (flows_.size() >= limit_) {
      ++refused_;
      return;
    }
    const bool left = draining_ && (flow.mark & draining_->mask) == draining_->value;
    const auto way = static_cast<std::uint16_t>(left ? way_ - 1 : way_);
    at = flows_.emplace(flow.original, Entry{flow.id, way, round_, left}).first;
    if (!left) ++current_;
  }
  if (!at->second.answered) stay(at->second);
  at->second.round = round_;
  at->second.answered = at->second.answered || is_answered(flow);
}

void FlowTable::forget(Flows::iterator at) {
  if (at->second.way == way_) --current_;
  flows_.erase(at);
}

void FlowTable::flow_begun(const Flow& flow) {
  if (has_ended(flow))
    flow_ended(flow);
  else
    remember(flow, true);
}

// Only of what is known: what was handed over to be reset must not come back before its entry is
// gone.
void FlowTable::flow_updated(const Flow& flow) {
  if (has_ended(flow))
    flow_ended(flow);
  else
    remember(flow, false);
}

void FlowTable::flow_ended(const Flow& flow) {
  const auto at = flows_.find(flow.original);
  if (at != flows_.end() && at->second.id == flow.id) forget(at);
}

void FlowTable::dump_ended() {
  for (auto at = flows_.begin(); at != flows_.end();) {
    const auto candidate = at++;
    if (candidate->second.round != round_) forget(candidate);
  }
}

}  // namespace oceanid::routing
