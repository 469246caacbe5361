#pragma once
// The key by which two peers know each other outside of WireGuard, made of what WireGuard already
// gave them:
//
//   HMAC-SHA256(X25519(own private key, peer's public key), "oceanid transport 1" || preshared key)
//
// Both sides compute the same one; whoever holds it can pose as one of the two towards the other,
// but learns nothing of WireGuard's keys, so the unprivileged process may have it. Labels keep the
// uses apart.

#include "gateway/base/error.hpp"
#include "tunnel/core/key.hpp"
#include "tunnel/core/transport_hello.hpp"

#include <optional>

namespace oceanid::tunnel {

Result<TransportKey> transport_key(const PrivateKey& own, const PublicKey& peer,
                                   const std::optional<PresharedKey>& preshared);

using Exported = std::array<std::uint8_t, 32>;  // TLS's exported keying material

// Of `hello` with whatever MAC it has.
HelloMac hello_mac(const TransportKey& key, const Exported& exported, const Hello& hello);
ReachMac reach_mac(const TransportKey& key, const ReachProbe& probe);

bool same_mac(ByteSpan a, ByteSpan b);  // in constant time

}  // namespace oceanid::tunnel
