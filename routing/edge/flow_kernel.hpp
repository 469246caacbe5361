#pragma once
// What is done to single connections of pods, behind a narrow interface. Each call is one system
// call of some ten microseconds.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "routing/core/conntrack.hpp"
#include "routing/edge/netlink_socket.hpp"

#include <memory>
#include <random>

namespace oceanid::routing {

class FlowKernel {
 public:
  FlowKernel() = default;
  virtual ~FlowKernel() = default;
  FlowKernel(const FlowKernel&) = delete;
  FlowKernel& operator=(const FlowKernel&) = delete;

  // Makes the one who began this TCP connection say something (reset_segment.hpp).
  virtual Result<void> wake(const FlowTuple& tuple) = 0;
  // Writes the mark into the entry, under its mask; an entry that is gone is well.
  virtual Result<void> mark(const Flow& flow, const Mark& mark) = 0;
  // Removes the entry from connection tracking; one that is gone is well.
  virtual Result<void> forget(const Flow& flow) = 0;
};

// Needs CAP_NET_ADMIN and CAP_NET_RAW.
class LinuxFlowKernel final : public FlowKernel {
 public:
  static Result<std::unique_ptr<LinuxFlowKernel>> open();
  Result<void> wake(const FlowTuple& tuple) override;
  Result<void> mark(const Flow& flow, const Mark& mark) override;
  Result<void> forget(const Flow& flow) override;

 private:
  LinuxFlowKernel(UniqueFd raw4, UniqueFd raw6, NetlinkSocket netfilter);
  UniqueFd raw4_;
  UniqueFd raw6_;  // none: the kernel runs without IPv6
  NetlinkSocket netfilter_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace oceanid::routing
