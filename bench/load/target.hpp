#pragma once
// The far end of every tunnel: listens on several loopback ports and does what the first byte says.
//   'E'  echoes everything (latency, rate, idle)
//   'D'  sends noise until the tunnel ends (bulk down)
//   'G'  answers plain GETs: 64 bytes for "/", noise without end for others
//   'U'  discards, and after every MiB sends the total so far as 8 bytes, host order (bulk up): the
//        client learns what really arrived and not what vanished into socket buffers
// Runs until standard input ends, so that it cannot outlive the runner.

#include "bench/load/options.hpp"
#include "gateway/base/error.hpp"

namespace oceanid::bench {

Result<void> run_target(const Options& options);

}  // namespace oceanid::bench
