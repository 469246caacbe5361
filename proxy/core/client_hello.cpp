#include "proxy/core/client_hello.hpp"

#include "gateway/base/net_types.hpp"
#include "proxy/core/target.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace oceanid::proxy {
namespace {

using State = ClientHelloReader::State;

constexpr std::size_t record_head_size = 5;
constexpr std::size_t max_record = 16384;
constexpr std::size_t message_head_size = 4;
constexpr std::uint8_t content_handshake = 22;
constexpr std::uint8_t message_client_hello = 1;
constexpr std::size_t max_session_id = 32;
constexpr std::uint16_t extension_server_name = 0;

std::uint8_t byte_of(char c) {
  return static_cast<std::uint8_t>(c);
}

// A cursor that never leaves its bytes; after a failure every further take fails.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}

  std::optional<std::size_t> number(std::size_t width) {
    const auto raw = take(width);
    if (!raw) return std::nullopt;
    std::size_t out = 0;
    for (const char c : *raw)
      out = out << 8 | byte_of(c);
    return out;
  }
  std::optional<std::string_view> take(std::size_t size) {
    if (rest_.size() < size) return std::nullopt;
    const auto out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  // A vector with its length in front.
  std::optional<std::string_view> vector(std::size_t width) {
    const auto size = number(width);
    return size ? take(*size) : std::nullopt;
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// RFC 6066 section 3: a list with at most one name of each type; host_name is the only type.
std::optional<std::string> server_name(std::string_view extension) {
  Cursor outer(extension);
  const auto list = outer.vector(2);
  if (!list || list->empty() || !outer.empty()) return std::nullopt;
  Cursor names(*list);
  std::optional<std::string> out;
  while (!names.empty()) {
    const auto type = names.number(1);
    const auto name = names.vector(2);
    if (!name || name->empty()) return std::nullopt;
    if (*type != 0) continue;
    if (out) return std::nullopt;
    out = std::string(*name);
  }
  return out.value_or(std::string());
}

// The SNI's bytes, empty without one; none: malformed.
std::optional<std::string> name_in(std::string_view body) {
  Cursor hello(body);
  if (!hello.take(2) || !hello.take(32)) return std::nullopt;  // version, random
  const auto session = hello.vector(1);
  if (!session || session->size() > max_session_id) return std::nullopt;
  const auto suites = hello.vector(2);
  if (!suites || suites->empty() || suites->size() % 2 != 0) return std::nullopt;
  const auto compressions = hello.vector(1);
  if (!compressions || compressions->empty()) return std::nullopt;
  if (hello.empty()) return std::string();  // before extensions were invented
  const auto extensions = hello.vector(2);
  if (!extensions || !hello.empty()) return std::nullopt;
  Cursor each(*extensions);
  std::optional<std::string> out;
  while (!each.empty()) {
    const auto type = each.number(2);
    const auto data = each.vector(2);
    if (!type || !data) return std::nullopt;
    if (*type != extension_server_name) continue;
    if (out) return std::nullopt;  // twice: which one the server takes nobody knows
    out = server_name(*data);
    if (!out) return std::nullopt;
  }
  return out.value_or(std::string());
}

}  // namespace

State ClientHelloReader::feed(std::string_view bytes) {
  while (state_ == State::need_more && !bytes.empty()) {
    const std::size_t before = bytes.size();
    state_ = step(bytes);
    seen_ += before - bytes.size();
    if (state_ == State::need_more && seen_ >= max_stream) state_ = State::malformed;
  }
  return state_;
}

State ClientHelloReader::step(std::string_view& bytes) {
  return record_left_ == 0 ? take_record_head(bytes) : take_payload(bytes);
}

// Byte by byte, so that what is not TLS is told at its first wrong byte.
State ClientHelloReader::take_record_head(std::string_view& bytes) {
  const std::uint8_t byte = byte_of(bytes.front());
  bytes.remove_prefix(1);
  const std::size_t place = record_head_.size();
  const State wrong = message_.empty() ? State::not_tls : State::malformed;
  if (place == 0 && byte != content_handshake) return wrong;
  if (place == 1 && byte != 3) return wrong;
  record_head_ += static_cast<char>(byte);
  if (record_head_.size() < record_head_size) return State::need_more;
  record_left_ = static_cast<std::size_t>(byte_of(record_head_[3])) << 8 | byte;
  record_head_.clear();
  return record_left_ == 0 || record_left_ > max_record ? wrong : State::need_more;
}

State ClientHelloReader::take_payload(std::string_view& bytes) {
  // Never more than the hello itself: what follows in its record is none of our business.
  std::size_t wanted = message_head_size;
  if (message_.size() >= message_head_size) {
    Cursor head(std::string_view(message_).substr(1, 3));
    wanted = message_head_size + head.number(3).value_or(0);
  }
  const auto size = std::min({bytes.size(), record_left_, wanted - message_.size()});
  message_ += bytes.substr(0, size);
  bytes.remove_prefix(size);
  record_left_ -= size;
  if (byte_of(message_.front()) != message_client_hello) return State::malformed;
  if (message_.size() < message_head_size) return State::need_more;
  Cursor head(std::string_view(message_).substr(1, 3));
  const std::size_t whole = message_head_size + head.number(3).value_or(0);
  if (whole > max_message) return State::malformed;
  return message_.size() < whole ? State::need_more : parse();
}

State ClientHelloReader::parse() {
  auto name = name_in(std::string_view(message_).substr(message_head_size));
  message_.clear();
  message_.shrink_to_fit();
  if (!name) return State::malformed;
  // An address is no name (RFC 6066 section 3), and neither is what our own grammar refuses.
  auto canonical = canonical_host(*name);
  if (canonical && !IpAddress::parse(*canonical)) name_ = std::move(*canonical);
  return State::done;
}

}  // namespace oceanid::proxy
