#pragma once
// A start with the very configuration that a former life had in force (an upgrade, a crash): what
// it left in the kernel carries on, the exit in use and those that something is pinned to, until
// the tunnels are in hand and have had time to answer. Whoever starts with another configuration
// begins closed. Belongs to one thread.

#include "tunnel/core/exit_select.hpp"

#include <cstdint>
#include <optional>

namespace oceanid::process {

class TakeOver {
 public:
  // From here on what is found counts as present.
  void begin() { from_ = From::found; }
  bool from_found() const { return from_ == From::found; }
  // The tunnels are ours: now they have to prove themselves. False: that was so already, or nothing
  // is taken over.
  bool in_hand(tunnel::TimePoint now) {
    if (from_ != From::found) return false;
    from_ = From::tunnels;
    until_ = now + tunnel::ExitSelector::grace;
    return true;
  }
  // Whether an exit that has said nothing yet goes on carrying what it carried.
  bool lasts(tunnel::TimePoint now) const {
    return from_ == From::found || (until_ && now < *until_);
  }
  // When lasts() ends; none: it has, or that is not known yet.
  std::optional<tunnel::TimePoint> end(tunnel::TimePoint now) const {
    return until_ && now < *until_ ? until_ : std::nullopt;
  }

 private:
  enum class From : std::uint8_t { nothing, found, tunnels };
  From from_ = From::nothing;
  std::optional<tunnel::TimePoint> until_;
};

}  // namespace oceanid::process
