#pragma once
// Changes of set elements as one nfnetlink batch: the bytes of one sendmsg(2), which the kernel
// carries out as one transaction or not at all. No I/O.
//
// An interval is two elements: its first address, and the address behind its last one under
// NFT_SET_ELEM_INTERVAL_END. What reaches to the end of the address space has no second one: the
// address behind 255.255.255.255 does not exist, and 0.0.0.0 would close an interval below every
// other.

#include "gateway/base/error.hpp"
#include "routing/core/elements.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace oceanid::routing {

struct ElementBatch {
  std::vector<std::uint8_t> bytes;
  std::uint32_t first_sequence = 0;
  std::uint32_t last_sequence = 0;  // of the last change: its acknowledgement means "committed"
  bool empty() const { return bytes.empty(); }
};

// With `generation` the kernel refuses the batch (ERESTART) when somebody committed anything since
// the generation had that number (NFNL_BATCH_GENID). Empty for changes without elements.
Result<ElementBatch> encode_elements(std::span<const ElementChange> changes,
                                     std::optional<std::uint32_t> generation,
                                     std::uint32_t first_sequence);

}  // namespace oceanid::routing
