#pragma once
// Peers that are reached through another one (`via`).

#include "tunnel/core/settings.hpp"

namespace oceanid::tunnel {

// Such a peer has no session of its own: what is its becomes networks of the relay, and it is left
// out.
TunnelSettings behind_their_relays(TunnelSettings settings);

}  // namespace oceanid::tunnel
