#pragma once
// The segment that makes a waiting TCP client speak, so that a rule can answer it with a reset.
//
// A reset must carry the exact number of the next byte (RFC 5961, section 3), which connection
// tracking does not tell. A SYN with any number makes an established end send an acknowledgement
// (the same, section 4), which carries its own numbers; to that one the kernel's `reject with tcp
// reset` fits. The SYN has ACK set, because connection tracking passes a SYN-ACK of the answering
// side as part of the connection (TCP_CONNTRACK_IGNORE), where it calls every other segment with
// wrong numbers invalid, and network policies drop those.

#include "routing/core/conntrack.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace oceanid::routing {

// The sets of tuples that are answered with a reset (nft_reset.cpp): source, port, destination,
// port.
inline constexpr std::string_view reset_set4 = "reset4";
inline constexpr std::string_view reset_set6 = "reset6";
inline constexpr std::chrono::seconds reset_element_life{3};
inline constexpr std::size_t reset_elements = 131072;  // in one set: twice what 3 s can bring

// A whole IP packet as the one who began `tuple` would get it from the other end; `sequence` is of
// no importance and should not be known to others.
std::vector<std::uint8_t> waking_segment(const FlowTuple& tuple, std::uint32_t sequence);

}  // namespace oceanid::routing
