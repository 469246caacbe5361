#pragma once
// What the kernel says about a WireGuard device, from wireguard-embeddable's types to ours. Only
// memory is read; the device stays the caller's, who wipes its keys.

#include "tunnel/core/snapshot.hpp"

struct wg_device;

namespace oceanid::tunnel {

DeviceReading reading_of(const IfName& name, const wg_device& device);

}  // namespace oceanid::tunnel
