#include "tunnel/edge/kernel_backend.hpp"
#include "tunnel/edge/kernel_reading.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <string>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

extern "C" {
#include <wireguard.h>
}

#include <unistd.h>

namespace oceanid::tunnel {
namespace {

struct FreeDevice {
  void operator()(wg_device* device) const {
    // The library frees without wiping.
    wipe({static_cast<std::uint8_t*>(device->private_key), sizeof device->private_key});
    wg_peer* peer = nullptr;
    wg_for_each_peer(device, peer)
        wipe({static_cast<std::uint8_t*>(peer->preshared_key), sizeof peer->preshared_key});
    wg_free_device(device);
  }
};
using DevicePointer = std::unique_ptr<wg_device, FreeDevice>;

template <typename Enum>
void add_flag(Enum& flags, Enum flag) {
  flags = static_cast<Enum>(static_cast<unsigned>(flags) | static_cast<unsigned>(flag));
}

Result<DeviceReading> read_device(const IfName& name) {
  wg_device* raw = nullptr;
  if (wg_get_device(&raw, name.str().c_str()) != 0) {
    const int reason = errno;
    if (reason == ENODEV || reason == ENOENT)
      return fail(Errc::not_found, "there is no WireGuard device " + name.str());
    return fail_errno("reading the WireGuard device " + name.str(), reason);
  }
  const DevicePointer device(raw);
  return reading_of(name, *device);
}

void fill_endpoint(wg_peer& peer, const SocketAddress& endpoint) {
  const auto bytes = endpoint.address.bytes();
  if (endpoint.address.is_v4()) {
    peer.endpoint.addr4.sin_family = AF_INET;
    peer.endpoint.addr4.sin_port = htons(endpoint.port);
    std::memcpy(&peer.endpoint.addr4.sin_addr, bytes.data(), bytes.size());
  } else {
    peer.endpoint.addr6.sin6_family = AF_INET6;
    peer.endpoint.addr6.sin6_port = htons(endpoint.port);
    std::memcpy(&peer.endpoint.addr6.sin6_addr, bytes.data(), bytes.size());
  }
}

// The library's linked lists point into these deques, whose elements never move.
struct Request {
  wg_device device{};
  std::deque<wg_peer> peers;
  std::deque<wg_allowedip> allowed;
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() {
    wipe({static_cast<std::uint8_t*>(device.private_key), sizeof device.private_key});
    for (wg_peer& peer : peers)
      wipe({static_cast<std::uint8_t*>(peer.preshared_key), sizeof peer.preshared_key});
  }
};

void add_allowed(Request& request, wg_peer& peer, const Prefix& prefix) {
  wg_allowedip& allowed = request.allowed.emplace_back();
  const auto bytes = prefix.address().bytes();
  allowed.family = prefix.family() == Family::v4 ? AF_INET : AF_INET6;
  std::memcpy(&allowed.ip6, bytes.data(), bytes.size());
  allowed.cidr = static_cast<std::uint8_t>(prefix.length());
  if (peer.last_allowedip)
    peer.last_allowedip->next_allowedip = &allowed;
  else
    peer.first_allowedip = &allowed;
  peer.last_allowedip = &allowed;
}

void add_peer(Request& request, const PeerChange& change) {
  wg_peer& peer = request.peers.emplace_back();
  std::memcpy(peer.public_key, change.public_key.bytes().data(), key_bytes);
  add_flag(peer.flags, WGPEER_HAS_PUBLIC_KEY);
  if (change.remove) {
    add_flag(peer.flags, WGPEER_REMOVE_ME);
  } else {
    if (change.preshared_key) {
      std::memcpy(peer.preshared_key, change.preshared_key->bytes().data(), key_bytes);
      add_flag(peer.flags, WGPEER_HAS_PRESHARED_KEY);
    }
    if (change.endpoint) fill_endpoint(peer, *change.endpoint);
    if (change.keepalive) {
      peer.persistent_keepalive_interval = static_cast<std::uint16_t>(change.keepalive->count());
      add_flag(peer.flags, WGPEER_HAS_PERSISTENT_KEEPALIVE_INTERVAL);
    }
    if (change.replace_allowed_ips) add_flag(peer.flags, WGPEER_REPLACE_ALLOWEDIPS);
    for (const Prefix& prefix : change.allowed_ips)
      add_allowed(request, peer, prefix);
  }
  if (request.device.last_peer)
    request.device.last_peer->next_peer = &peer;
  else
    request.device.first_peer = &peer;
  request.device.last_peer = &peer;
}

Result<void> write_device(const IfName& name, const DeviceChange& change) {
  Request request;
  wg_device& device = request.device;
  std::memcpy(device.name, name.str().c_str(), name.str().size() + 1);  // IfName: at most 15 bytes
  if (change.private_key) {
    std::memcpy(device.private_key, change.private_key->bytes().data(), key_bytes);
    add_flag(device.flags, WGDEVICE_HAS_PRIVATE_KEY);
  }
  if (change.listen_port) {
    device.listen_port = *change.listen_port;
    add_flag(device.flags, WGDEVICE_HAS_LISTEN_PORT);
  }
  if (change.fwmark) {
    device.fwmark = *change.fwmark;
    add_flag(device.flags, WGDEVICE_HAS_FWMARK);
  }
  for (const PeerChange& peer : change.peers)
    add_peer(request, peer);
  if (wg_set_device(&device) != 0) return fail_errno("configuring " + name.str());
  return {};
}

}  // namespace

Result<void> delete_link(const IfName& name) {
  // RTM_DELLINK goes by the name alone, whatever kind the link is.
  if (wg_del_device(name.str().c_str()) != 0 && errno != ENODEV)
    return fail_errno("deleting the link " + name.str());
  return {};
}

Result<void> KernelBackend::probe() {
  const std::string name = "oc-try" + std::to_string(::getpid() % 1'000'000);
  if (wg_add_device(name.c_str()) != 0) {
    if (errno == EOPNOTSUPP)
      return fail(Errc::unsupported,
                  "this kernel has no WireGuard (module wireguard); use backend: userspace");
    return fail_errno("creating a WireGuard link");
  }
  if (wg_del_device(name.c_str()) != 0) return fail_errno("deleting the link " + name);
  return {};
}

awaitable<Result<void>> KernelBackend::ensure(DesiredDevice device, PrivateKey key) {
  const IfName name = device.name;
  auto reading = read_device(name);
  if (!reading && ::if_nametoindex(name.str().c_str()) != 0) {
    // A link of that name that is not WireGuard: left behind by the other backend.
    if (auto deleted = delete_link(name); !deleted) co_return deleted;
  }
  if (!reading) {
    intents_.erase(name);
    if (wg_add_device(name.str().c_str()) != 0 && errno != EEXIST)
      co_return fail_errno("creating the WireGuard link " + name.str());
  }
  co_return apply_difference(device, key);
}

Result<void> KernelBackend::apply_difference(const DesiredDevice& device, const PrivateKey& key) {
  auto reading = read_device(device.name);
  if (!reading) return std::unexpected(std::move(reading.error()));
  const DeviceChange change = diff(device, key, *reading, intents_[device.name]);
  if (!change.empty()) {
    if (auto written = write_device(device.name, change); !written) return written;
  }
  intents_[device.name] = intent_of(device);
  desired_[device.name] = device;
  return {};
}

awaitable<Result<DeviceSnapshot>> KernelBackend::snapshot(IfName device) {
  auto reading = read_device(device);
  if (!reading) co_return std::unexpected(std::move(reading.error()));
  co_return std::move(reading->snapshot);
}

awaitable<Result<void>> KernelBackend::remove(IfName device) {
  desired_.erase(device);
  intents_.erase(device);
  co_return delete_link(device);
}

awaitable<std::vector<IfName>> KernelBackend::existing() {
  std::vector<IfName> names;
  char* list = wg_list_device_names();
  if (!list) co_return names;
  const char* at = nullptr;
  std::size_t length = 0;
  wg_for_each_device_name(list, at, length) {
    const auto name = IfName::parse(std::string_view(at, length));
    if (name && name->str().starts_with(device_prefix)) names.push_back(*name);
  }
  std::free(list);  // allocated by the library
  co_return names;
}

awaitable<Result<void>> KernelBackend::force_handshake(IfName device, PublicKey peer) {
  const auto now = std::chrono::steady_clock::now();
  const auto last = forced_.find({device, peer});
  if (last != forced_.end() && now - last->second < forced_handshake_pause)
    co_return fail(Errc::limit, "a handshake was forced less than half a second ago");
  const auto known = desired_.find(device);
  if (known == desired_.end()) co_return fail(Errc::not_found, device.str() + " is not ours");
  const auto& peers = known->second.peers;
  const auto wanted = std::ranges::find(peers, peer, &DesiredPeer::public_key);
  if (wanted == peers.end()) co_return fail(Errc::not_found, "no such peer on " + device.str());
  auto reading = read_device(device);
  if (!reading) co_return std::unexpected(std::move(reading.error()));
  const PeerSnapshot* live = reading->snapshot.find(peer);
  const DeviceChange change =
      forced_handshake(*wanted, live ? live->endpoint : std::optional<SocketAddress>());
  forced_[{device, peer}] = now;
  co_return write_device(device, change);
}

awaitable<void> KernelBackend::stop() {
  co_return;
}

}  // namespace oceanid::tunnel
