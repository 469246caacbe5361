// Messages about keys come through tunnels, the book of keys from disk: decoding stays in bounds,
// and what was understood survives a round trip.
#include "tunnel/core/key_turn.hpp"
#include "tunnel/core/rotation_message.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::tunnel;
  if (const auto message = decode_rotation(std::span(data, size)))
    if (decode_rotation(encode(*message)) != message) std::abort();
  const KeyBook book = decode_key_book({reinterpret_cast<const char*>(data), size});
  if (book.size() > max_key_book || decode_key_book(encode_key_book(book)) != book) std::abort();
  return 0;
}
