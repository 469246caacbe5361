// WireGuard's answers come from another process; whatever it says, decoding stays in bounds, and
// what was understood survives a round trip through the encoder.
#include "tunnel/core/uapi_codec.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::tunnel;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto name = oceanid::IfName::parse("oc-fuzz").value();
  static_cast<void>(uapi::decode_set_answer(text));
  if (const auto length = uapi::answer_length(text); length && *length > size) std::abort();
  const auto reading = uapi::decode_get(name, text);
  if (!reading) return 0;
  const auto again = uapi::decode_get(name, uapi::encode_get_answer(*reading));
  if (!again || !(*again == *reading)) std::abort();
  return 0;
}
