#pragma once
// What this node, as an exit, can say of itself from its configuration and its links: whether its
// uplink can carry packets, and by which address clients' packets leave in each family. None: it
// does not know, or each client has another one. A value; what the world really sees only the world
// can say.

#include "gateway/base/net_types.hpp"
#include "routing/core/facts.hpp"
#include "routing/core/settings.hpp"

#include <optional>

namespace oceanid::routing {

struct ExitShown {
  bool serves = false;
  std::optional<IpAddress> ipv4;
  std::optional<IpAddress> ipv6;
  bool operator==(const ExitShown&) const = default;
};

// `uplink`: the link that serve_exit.uplink names; null: it is not there.
ExitShown shown_by_exit(const ServeExitSettings& serve, const LinkFacts* uplink);

}  // namespace oceanid::routing
