#include "tunnel/edge/kernel_reading.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ratio>

#include <netinet/in.h>

extern "C" {
#include <wireguard.h>
}

namespace oceanid::tunnel {
namespace {

KeyBytes key_bytes_of(const wg_key& key) {
  KeyBytes bytes{};
  std::memcpy(bytes.data(), key, bytes.size());
  return bytes;
}

std::optional<SocketAddress> endpoint_of(const wg_peer& peer) {
  if (peer.endpoint.addr.sa_family == AF_INET) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &peer.endpoint.addr4.sin_addr, bytes.size());
    return SocketAddress{IpAddress::v4(bytes), ntohs(peer.endpoint.addr4.sin_port)};
  }
  if (peer.endpoint.addr.sa_family == AF_INET6) {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &peer.endpoint.addr6.sin6_addr, bytes.size());
    return SocketAddress{IpAddress::v6(bytes), ntohs(peer.endpoint.addr6.sin6_port)};
  }
  return std::nullopt;
}

std::optional<Prefix> prefix_of(const wg_allowedip& allowed) {
  if (allowed.family == AF_INET) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &allowed.ip4, bytes.size());
    if (auto prefix = Prefix::make(IpAddress::v4(bytes), allowed.cidr)) return *prefix;
  } else if (allowed.family == AF_INET6) {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &allowed.ip6, bytes.size());
    if (auto prefix = Prefix::make(IpAddress::v6(bytes), allowed.cidr)) return *prefix;
  }
  return std::nullopt;
}

std::optional<std::chrono::system_clock::time_point> time_of(const timespec64& from) {
  const bool never = from.tv_sec == 0 && from.tv_nsec == 0;
  if (never || from.tv_sec < 0 || from.tv_sec > max_handshake_seconds || from.tv_nsec < 0 ||
      from.tv_nsec >= std::nano::den)
    return std::nullopt;
  return std::chrono::system_clock::time_point(std::chrono::seconds(from.tv_sec) +
                                               std::chrono::nanoseconds(from.tv_nsec));
}

PeerSnapshot peer_snapshot(const wg_peer& from) {
  PeerSnapshot peer;
  peer.public_key = PublicKey(key_bytes_of(from.public_key));
  peer.endpoint = endpoint_of(from);
  peer.last_handshake = time_of(from.last_handshake_time);
  peer.rx_bytes = from.rx_bytes;
  peer.tx_bytes = from.tx_bytes;
  peer.keepalive = std::chrono::seconds(from.persistent_keepalive_interval);
  const wg_allowedip* allowed = nullptr;
  wg_for_each_allowedip(&from, allowed) {
    if (const auto prefix = prefix_of(*allowed)) peer.allowed_ips.push_back(*prefix);
  }
  std::ranges::sort(peer.allowed_ips);
  return peer;
}

}  // namespace

DeviceReading reading_of(const IfName& name, const wg_device& device) {
  DeviceReading reading;
  reading.snapshot.name = name;
  reading.snapshot.listen_port = device.listen_port;
  reading.snapshot.fwmark = device.fwmark;
  if ((device.flags & WGDEVICE_HAS_PRIVATE_KEY) != 0) {
    KeyBytes bytes = key_bytes_of(device.private_key);
    const PrivateKey key(bytes);
    wipe(bytes);
    if (!key.is_zero()) reading.private_key = key;
  }
  const wg_peer* peer = nullptr;
  wg_for_each_peer(&device, peer) {
    reading.snapshot.peers.push_back(peer_snapshot(*peer));
    KeyBytes bytes = key_bytes_of(peer->preshared_key);
    reading.preshared_keys.emplace_back(bytes);
    wipe(bytes);
  }
  return reading;
}

}  // namespace oceanid::tunnel
