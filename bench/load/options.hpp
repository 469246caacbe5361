#pragma once
// The command line of oceanid-load as a value. Only the runner (bench/run) and a curious engineer
// call it, so it is plain: MODE --key value ... .

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::bench {

enum class Mode { target, rate, latency, bulk, idle };

struct Options {
  Mode mode = Mode::target;
  std::optional<SocketAddress> proxy;      // none: straight to the target
  std::vector<SocketAddress> targets;      // used in turn
  std::vector<IpAddress> sources;          // client addresses, used in turn
  std::chrono::milliseconds window{1000};  // what is measured
  std::chrono::milliseconds warmup{200};   // what comes before it and is not
  std::size_t tunnels = 1;                 // at the same time
  bool up = false;                         // bulk: the client sends
  bool copy = false;                       // bulk: receive with copying
  bool http = false;                       // latency, bulk: plain HTTP requests, not CONNECT
  std::vector<std::size_t> steps;          // idle: how many tunnels at each stop
  std::size_t ports = 8;                   // target: how many to listen on
};

extern const std::string_view kUsage;

Result<Options> parse_options(const std::vector<std::string>& arguments);

}  // namespace oceanid::bench
