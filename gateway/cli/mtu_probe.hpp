#pragma once
// The path MTU to a host that knows nothing of us: packets with DF and rising sizes, ICMP echoes
// first, then UDP to a port that nobody listens on (the refusal is the answer). Blocks for a few
// seconds; for the command line only.

#include "gateway/base/net_types.hpp"

#include <optional>
#include <string>

namespace oceanid::cli {

struct ProbedPath {
  std::string how;
  std::optional<unsigned> bytes;  // exact; none: nobody answered
};

ProbedPath probe_path(const IpAddress& host, unsigned largest);

}  // namespace oceanid::cli
