#include "routing/core/conntrack.hpp"

#include <cstring>

namespace oceanid::routing {
namespace {

// splitmix64's finaliser: the table's keys differ in few bits (one pod, one server, many ports).
std::uint64_t mix(std::uint64_t value) {
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9;
  value ^= value >> 27;
  value *= 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::uint64_t fold(std::uint64_t seed, const IpAddress& address) {
  const auto bytes = address.bytes();
  for (std::size_t at = 0; at < bytes.size(); at += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    seed = mix(seed + word + 0x9e3779b97f4a7c15);
  }
  return seed;
}

}  // namespace

std::size_t FlowTupleHash::operator()(const FlowTuple& tuple) const {
  const std::uint64_t ports = (std::uint64_t{tuple.source_port} << 32) |
                              (std::uint64_t{tuple.destination_port} << 8) | tuple.protocol;
  return static_cast<std::size_t>(fold(fold(mix(ports), tuple.source), tuple.destination));
}

std::uint64_t identity(const Flow& flow) {
  return (std::uint64_t{flow.id} << 32U) ^ FlowTupleHash()(flow.original);
}

}  // namespace oceanid::routing
