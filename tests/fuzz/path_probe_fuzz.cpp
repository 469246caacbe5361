// Outer probes come from anybody. Whatever arrives, an end answers nothing that its key did not
// seal, never more than it was asked with, and believes nothing that is not for its session.
#include "tunnel/core/path_mtu_link.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

namespace {

using namespace oceanid::tunnel;

PathProbeKey key_of(std::uint8_t own, std::uint8_t peer) {
  KeyBytes private_bytes{};
  private_bytes.fill(own);
  KeyBytes other{};
  other.fill(peer);
  const auto probe = PathProbeKey::derive(PrivateKey(private_bytes), PublicKey(other), {});
  if (!probe) std::abort();
  return *probe;
}

}  // namespace

// The first byte says how: as it is, sealed with the right key (then the fields are the fuzzer's),
// or as a router's quotation.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const PathProbeKey key = key_of(0x42, 9);
  const PathMtuLink::Time now{std::chrono::hours(1)};
  PathMtuLink link({.role = PathProbeRole::responder, .inner = 1440}, key, 7, now);
  if (size < 2) return 0;
  const std::uint8_t how = data[0];
  const std::span<const std::uint8_t> bytes(data + 1, size - 1);
  static_cast<void>(path_probe_recipient(bytes));
  if (how % 3 == 0) {
    const auto heard = link.receive(bytes, static_cast<unsigned>(size - 1 + 28), now);
    if (heard.answer || heard.fresh) std::abort();  // nobody guesses a MAC
    return 0;
  }
  if (how % 3 == 1) {
    link.on_hint(bytes, how, now);
    return 0;
  }
  for (std::size_t at = 0; at + 40 <= bytes.size(); at += 40) {
    PathProbePacket packet;
    packet.recipient = link.recipient();
    packet.type = bytes[at] % 2 == 0 ? PathProbeType::question : PathProbeType::answer;
    const auto number = [&](std::size_t offset, auto& field) {
      std::memcpy(&field, bytes.data() + at + offset, sizeof field);
    };
    number(1, packet.session);
    number(9, packet.to_session);
    if (bytes[at + 9] == 7) packet.to_session = 7;
    number(17, packet.number);
    number(25, packet.acked);
    number(33, packet.size);
    number(35, packet.report);
    number(37, packet.applied);
    const auto sealed = key.seal(packet);
    const auto opened = key.open(sealed);
    if (!opened || !(*opened == packet)) std::abort();
    const auto heard = link.receive(sealed, packet.size, now);
    if (heard.answer && packet.size >= 108 && heard.answer->size > packet.size) std::abort();
    if (heard.fresh && packet.to_session != 7) std::abort();
    while (link.next_question(now + std::chrono::milliseconds(at))) {
    }
    if (link.inner() < smallest_inner_mtu) std::abort();
  }
  return 0;
}
