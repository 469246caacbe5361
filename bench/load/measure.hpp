#pragma once
// The four measurements. Each runs alone in its process, prints its result (report.hpp) and returns
// an error only when it could not measure at all; failed tunnels are part of the result.

#include "bench/load/options.hpp"
#include "gateway/base/error.hpp"

namespace oceanid::bench {

// Tunnels set up, used once (64-byte ping-pong) and closed, by `tunnels` clients in closed loops.
Result<void> measure_rate(const Options& options);

// 64-byte ping-pong in closed loops on `tunnels` tunnels that stay open.
Result<void> measure_latency(const Options& options);

// As many bytes as go through `tunnels` tunnels in one direction, counted where they arrive.
Result<void> measure_bulk(const Options& options);

// Opens tunnels up to each of `steps`, proves each with a ping, waits there for a line of standard
// input while the runner looks at the proxy's memory, and at the end proves every one again.
Result<void> measure_idle(const Options& options);

}  // namespace oceanid::bench
