// The in-tunnel echo on arbitrary bytes: what is accepted is written and read again as the same.
#include "tunnel/core/probe_packet.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::tunnel;
  const auto packet = decode_probe({data, size});
  if (!packet) return 0;
  if (decode_probe(encode(*packet)) != packet) std::abort();
  return 0;
}
