#pragma once
// What `oceanid drill failover` found.

#include "gateway/ipc/json_types.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace oceanid::ipc {

struct DrillView {
  std::string exit;                        // that was broken
  std::string to;                          // that carries the traffic now; empty: nobody took over
  std::optional<double> detected_seconds;  // from the fault until it was known to be down
  std::optional<double> switched_seconds;  // from the fault until the route was replaced
  std::optional<double> restored_seconds;  // from the fault's end until it was proven again
  std::uint64_t connections_reset = 0;
  double hold_seconds = 0;  // the traffic returns after that
};
BOOST_DESCRIBE_STRUCT(DrillView, (),
                      (exit, to, detected_seconds, switched_seconds, restored_seconds,
                       connections_reset, hold_seconds))

}  // namespace oceanid::ipc
