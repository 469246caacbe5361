#pragma once
// The IANA special-purpose registries (RFC 6890 and its updates) as far as an exit must not forward
// there for others, and the smaller list of ranges that are private to a site. Values; any thread.

#include "gateway/base/net_types.hpp"

#include <vector>

namespace oceanid::routing {

// Not globally reachable, or embedding an address that may not be.
const std::vector<Prefix>& special_purpose_ranges(Family family);

// RFC 1918, RFC 6598, RFC 4193 and link-local: never meaningful beyond the site.
bool is_private(const Prefix& prefix);

}  // namespace oceanid::routing
