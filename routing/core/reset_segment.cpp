#include "routing/core/reset_segment.hpp"

#include <cstddef>
#include <span>
#include <utility>

namespace oceanid::routing {
namespace {

constexpr std::uint8_t hop_limit = 64;
constexpr std::uint8_t syn_ack = 0x12;
constexpr std::uint16_t tcp_bytes = 20;
constexpr std::uint16_t ipv4_bytes = 20;

class Writer {
 public:
  void u8(unsigned value) { bytes_.push_back(static_cast<std::uint8_t>(value)); }
  void u16(std::uint16_t value) {
    u8(value >> 8U);
    u8(value & 0xffU);
  }
  void u32(std::uint32_t value) {
    u16(static_cast<std::uint16_t>(value >> 16));
    u16(static_cast<std::uint16_t>(value & 0xffff));
  }
  void bytes(std::span<const std::uint8_t> more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
  }
  void patch(std::size_t at, std::uint16_t value) {
    bytes_[at] = static_cast<std::uint8_t>(value >> 8);
    bytes_[at + 1] = static_cast<std::uint8_t>(value & 0xff);
  }
  std::span<const std::uint8_t> view() const { return bytes_; }
  std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
};

// RFC 1071; all parts have an even length.
std::uint16_t checksum(std::span<const std::uint8_t> first,
                       std::span<const std::uint8_t> second = {}) {
  std::uint32_t sum = 0;
  for (const auto part : {first, second})
    for (std::size_t i = 0; i + 1 < part.size(); i += 2)
      sum += static_cast<std::uint32_t>(part[i]) << 8 | part[i + 1];
  while (sum >> 16 != 0)
    sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

void tcp(Writer& out, const FlowTuple& tuple, std::uint32_t sequence) {
  const std::size_t start = out.view().size();
  out.u16(tuple.destination_port);
  out.u16(tuple.source_port);
  out.u32(sequence);
  out.u32(~sequence);
  out.u8((tcp_bytes / 4) << 4);
  out.u8(syn_ack);
  out.u16(1024);  // window
  out.u16(0);
  out.u16(0);
  Writer pseudo;
  pseudo.bytes(tuple.destination.bytes());
  pseudo.bytes(tuple.source.bytes());
  pseudo.u16(tcp_number);
  pseudo.u16(tcp_bytes);
  out.patch(start + 16, checksum(pseudo.view(), out.view().subspan(start)));
}

}  // namespace

std::vector<std::uint8_t> waking_segment(const FlowTuple& tuple, std::uint32_t sequence) {
  Writer out;
  if (tuple.family() == Family::v4) {
    out.u16(0x4500);
    out.u16(ipv4_bytes + tcp_bytes);
    out.u16(0);
    out.u16(0x4000);  // never in fragments
    out.u8(hop_limit);
    out.u8(tcp_number);
    out.u16(0);
    out.bytes(tuple.destination.bytes());
    out.bytes(tuple.source.bytes());
    out.patch(10, checksum(out.view()));
  } else {
    out.u32(0x60000000);
    out.u16(tcp_bytes);
    out.u8(tcp_number);
    out.u8(hop_limit);
    out.bytes(tuple.destination.bytes());
    out.bytes(tuple.source.bytes());
  }
  tcp(out, tuple, sequence);
  return out.take();
}

}  // namespace oceanid::routing
