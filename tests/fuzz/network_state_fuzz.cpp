// last_good.json may be damaged or edited: reading it refuses or gives a state that is written and
// read again as the same.
#include "routing/edge/state_files.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::routing;
  const auto state = decode_state({reinterpret_cast<const char*>(data), size});
  if (!state) return 0;
  const auto again = decode_state(encode_state(*state));
  if (!again || !(*again == *state)) std::abort();
  return 0;
}
