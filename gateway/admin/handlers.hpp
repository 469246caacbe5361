#pragma once
// What the admin endpoint answers, as a pure function of the gateway's state.
// Read-only: changes go through the control socket.

#include "gateway/ipc/snapshot.hpp"
#include "proxy/core/stats.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace oceanid::admin {

struct View {
  ipc::GatewaySnapshot gateway;
  proxy::StatsSnapshot proxy;
  bool accepting = false;  // configuration in force and sockets open; not draining
  std::uint64_t lost_log_lines = 0;
  bool loops_beat = false;  // every event loop turned lately
};

struct Response {
  unsigned status = 200;
  std::string content_type;
  std::string body;
};

Response handle(std::string_view method, std::string_view path, const View& view);

std::string metrics_text(const View& view);  // Prometheus text format 0.0.4
// One sentence for a human: what carries the traffic, or what broke. netd's word.
std::string diagnosis_of(const ipc::GatewaySnapshot& gateway);

}  // namespace oceanid::admin
