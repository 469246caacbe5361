// The nft program lists what other programs wrote: names and expressions are theirs.
#include "routing/edge/nft_listing.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(
      oceanid::routing::survey_of_listing({reinterpret_cast<const char*>(data), size}));
  return 0;
}
