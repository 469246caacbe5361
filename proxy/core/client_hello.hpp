#pragma once
// Which name a TLS client wants, read from its ClientHello (RFC 8446 section 4.1.2, RFC 6066
// section 3) as it comes: in pieces, in one record or in many. Nothing is decrypted or changed.
// Post-quantum key shares make real ones span several segments. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace oceanid::proxy {

class ClientHelloReader {
 public:
  enum class State : std::uint8_t { need_more, done, not_tls, malformed };

  // Bytes behind the hello are not looked at. After another state than need_more nothing changes.
  State feed(std::string_view bytes);
  State state() const { return state_; }
  // When done: the host name in canonical form; empty: the hello has none, or one that is no name.
  const std::string& name() const { return name_; }

  // A hello with more than this is not read to its end, nor are records that carry next to nothing.
  static constexpr std::size_t max_message = 16 << 10;
  static constexpr std::size_t max_stream = 32 << 10;

 private:
  State step(std::string_view& bytes);
  State take_record_head(std::string_view& bytes);
  State take_payload(std::string_view& bytes);
  State parse();

  State state_ = State::need_more;
  std::string record_head_;
  std::string message_;
  std::size_t record_left_ = 0;
  std::size_t seen_ = 0;
  std::string name_;
};

}  // namespace oceanid::proxy
