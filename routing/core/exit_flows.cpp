#include "routing/core/exit_flows.hpp"

namespace oceanid::routing {
namespace {

// Only the exit that a flow leaves by translates it: on its way there it keeps its address.
bool is_translated(const Flow& flow) {
  return flow.reply.destination != flow.original.source;
}

// Where to is what the answers come from: a destination may have been translated, too.
Destination destination_of(const Flow& flow) {
  return {flow.reply.source, flow.reply.source_port, flow.reply.protocol};
}

Usage usage_of(const Flow& flow) {
  Usage out;
  if (flow.sent) {
    out.bytes_up = flow.sent->bytes;
    out.packets_up = flow.sent->packets;
  }
  if (flow.received) {
    out.bytes_down = flow.received->bytes;
    out.packets_down = flow.received->packets;
  }
  return out;
}

}  // namespace

void ExitFlows::flow_begun(const Flow& flow) {
  if (!is_translated(flow)) return;
  if (const auto known = live_.find(identity(flow)); known != live_.end()) {
    if (known->second.seen != dump_ && unseen_ > 0) --unseen_;
    known->second.seen = dump_;
    return;
  }
  if (live_.size() >= most_flows) return;
  Live live{{flow.reply.destination, destination_of(flow)}, flow.original.source, dump_};
  // Echoes and the like have no ports to run out of.
  if (flow.reply.protocol == tcp_number || flow.reply.protocol == udp_number)
    live.takes_port = budget_.opened(live.use);
  if (accounting_) live.accounted = ledger_.opened(live.client);
  live_.emplace(identity(flow), live);
  if (on_pressing_ && budget_.pressing()) on_pressing_();
}

void ExitFlows::close(const Live& live) {
  if (live.takes_port) budget_.closed(live.use);
  if (live.accounted) ledger_.closed(live.client);
}

void ExitFlows::flow_ended(const Flow& flow) {
  if (!is_translated(flow)) return;
  if (const auto known = live_.find(identity(flow)); known != live_.end()) {
    if (known->second.seen != dump_ && unseen_ > 0) --unseen_;
    close(known->second);
    live_.erase(known);
  }
  if (accounting_) ledger_.ended(flow.original.source, destination_of(flow), usage_of(flow));
}

void ExitFlows::dump_begins() {
  ++dump_;
  unseen_ = live_.size();
}

void ExitFlows::dump_ended() {
  if (unseen_ == 0) return;
  unseen_ = 0;
  std::erase_if(live_, [&](const auto& entry) {
    if (entry.second.seen == dump_) return false;
    close(entry.second);
    return true;
  });
}

}  // namespace oceanid::routing
