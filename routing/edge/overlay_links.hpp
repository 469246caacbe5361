#pragma once
// The VXLAN links of this host. Synchronous; reads only.

#include "gateway/base/error.hpp"
#include "routing/core/overlay_link.hpp"

#include <vector>

namespace oceanid::routing {

Result<std::vector<OverlayLink>> overlay_links();

}  // namespace oceanid::routing
