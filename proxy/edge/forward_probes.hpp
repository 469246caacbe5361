#pragma once
// Which targets of the forwards answer: each is asked now and then in its own protocol, and real
// connections tell as well. A target counts as good until it has failed. One event loop's.

#include "gateway/base/runtime/task_group.hpp"
#include "proxy/edge/runtime.hpp"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::proxy {

class ServerCore;

class ForwardProbes {
 public:
  explicit ForwardProbes(ServerCore& core);
  ~ForwardProbes();
  ForwardProbes(const ForwardProbes&) = delete;
  ForwardProbes& operator=(const ForwardProbes&) = delete;

  // For the forwards as they are now; what is known of targets that stay is kept.
  void apply(const Runtime& runtime);
  awaitable<void> stop();

  // The forward's targets: the good ones in the operator's order, then the others in that order,
  // since a probe may be wrong.
  std::vector<HostPort> in_order(const ForwardSettings& forward) const;
  // What a client's connection to it showed.
  void note(const ForwardSettings& forward, const HostPort& target, bool connected);

 private:
  struct Target {
    ForwardSettings forward;
    HostPort address;
    unsigned failures = 0;
    bool good = true;
    bool under_way = false;
  };
  using Key = std::pair<std::string, HostPort>;  // the forward's name

  awaitable<void> run();
  static awaitable<void> probe(ForwardProbes& self, std::shared_ptr<Target> target);
  awaitable<bool> ask(std::shared_ptr<Target> target);
  void judge(Target& target, bool answered, unsigned failures_allowed);

  ServerCore& core_;
  std::map<Key, std::shared_ptr<Target>> targets_;
  TaskGroup tasks_;
  bool running_ = false;
};

}  // namespace oceanid::proxy
