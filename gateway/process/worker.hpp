#pragma once
// The worker: the unprivileged process that owns every socket a stranger can reach. One main loop
// (netd's channel, admin endpoint, endpoint names) and one thread with its own loop per core for
// proxy and forwards. It ends when netd tells it to drain or disappears: accepted work is finished
// first, within `timeouts.drain`.

#include "gateway/base/runtime/unique_fd.hpp"

namespace oceanid::process {

// Runs until drained. Exit codes: 0 drained, 1 failed (also: still privileged).
int worker_main(UniqueFd channel, bool started_as_root);

}  // namespace oceanid::process
