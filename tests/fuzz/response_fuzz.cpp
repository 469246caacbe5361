// The response head on arbitrary bytes. What must hold: the split changes nothing; what is held
// stays within the limits; an accepted head written out again and parsed again is the same; its
// framing does not depend on the order in which it was fed.
#include "proxy/core/message_framing.hpp"
#include "proxy/core/response_head.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace oceanid::proxy;
using State = ResponseParser::State;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Outcome {
  State state = State::need_more;
  std::size_t consumed = 0;
  ResponseHead head;
};

Outcome read(std::string_view bytes, std::size_t step, HeadLimits limits) {
  ResponseParser parser(limits);
  Outcome out;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step);
    out.state = parser.feed(piece);
    require(parser.consumed_of_last_feed() <= piece.size());
    out.consumed += parser.consumed_of_last_feed();
    if (out.state != State::need_more) break;
    bytes.remove_prefix(piece.size());
  }
  require(out.consumed <= limits.bytes);
  if (out.state == State::done) out.head = parser.take_head();
  return out;
}

std::string write(const ResponseHead& head) {
  std::string out = std::string("HTTP/1.") + (head.version == HttpVersion::http11 ? "1 " : "0 ") +
                    std::to_string(head.status) + " " + head.reason + "\r\n";
  for (const Field& field : head.fields)
    out += field.name + ": " + field.value + "\r\n";
  return out + "\r\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const HeadLimits limits = data[0] % 4 == 0 ? HeadLimits{.bytes = 96, .fields = 3} : HeadLimits{};
  const std::string text(data + 2, data + size);
  const Outcome whole = read(text, text.size() + 1, limits);
  for (const std::size_t step : {std::size_t{1}, std::size_t{data[1]} + 2}) {
    const Outcome parts = read(text, step, limits);
    // A feed that completes the head may hide that an earlier byte was already too much.
    if (whole.state == State::done) require(parts.state == State::done);
    if (parts.state == State::done && whole.state == State::done)
      require(parts.consumed == whole.consumed && parts.head == whole.head);
  }
  if (whole.state != State::done) return 0;
  require(whole.head.fields.size() <= limits.fields);
  const Outcome again = read(write(whole.head), 4096, HeadLimits{});
  require(again.state == State::done && again.head == whole.head);
  for (const auto* method : {"GET", "HEAD"}) {
    const auto framing = framing_of(whole.head, method);
    const auto second = framing_of(again.head, method);
    require(framing.has_value() == second.has_value());
    if (framing) require(*framing == *second);
  }
  return 0;
}
