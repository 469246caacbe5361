// The head parser on arbitrary bytes. What must hold: the split into feeds changes nothing; nothing
// beyond the limit is held; an accepted head, read by a second and much simpler reader, says the
// same; written out again and parsed again it is the same head.
//
// Input: byte 0 picks the limits, byte 1 the split, the rest is the stream.
#include "proxy/core/answer.hpp"
#include "proxy/core/request_head.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace oceanid::proxy;
using State = HeadParser::State;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Outcome {
  State state = State::need_more;
  HeadError error = HeadError::none;
  std::size_t consumed = 0;
  RequestHead head;
};

// `step` bytes at a time; 0: all at once.
Outcome read(std::string_view bytes, HeadLimits limits, std::size_t step) {
  HeadParser parser(limits);
  Outcome out;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step == 0 ? bytes.size() : step);
    parser.feed(piece);
    require(parser.consumed_of_last_feed() <= piece.size());
    out.consumed += parser.consumed_of_last_feed();
    if (parser.state() == State::need_more) require(parser.consumed_of_last_feed() == piece.size());
    bytes.remove_prefix(piece.size());
  }
  out.state = parser.state();
  out.error = parser.error();
  out.head = parser.head();
  return out;
}

std::size_t held(const RequestHead& head) {
  std::size_t sum = head.method.size() + head.target.size();
  for (const Field& f : head.fields)
    sum += f.name.size() + f.value.size();
  return sum;
}

std::string write(const RequestHead& head) {
  std::string out = head.method + " " + head.target +
                    (head.version == HttpVersion::http11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
  for (const Field& f : head.fields)
    out += f.name + ": " + f.value + "\r\n";
  return out + "\r\n";
}

// A reader that cuts at CRLF and spaces and believes everything.
void check_against_naive_reader(std::string_view bytes, const RequestHead& head) {
  if (bytes.starts_with("\r\n")) bytes.remove_prefix(2);
  require(bytes.ends_with("\r\n\r\n"));
  require(bytes.find("\r\n\r\n") == bytes.size() - 4);
  const auto line_end = bytes.find("\r\n");
  const std::string_view line = bytes.substr(0, line_end);
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  require(line.substr(0, first) == head.method);
  require(line.substr(first + 1, last - first - 1) == head.target);
  require(line.substr(last + 1) == (head.version == HttpVersion::http11 ? "HTTP/1.1" : "HTTP/1.0"));
  bytes.remove_prefix(line_end + 2);
  for (const Field& f : head.fields) {
    const std::string_view field = bytes.substr(0, bytes.find("\r\n"));
    const auto colon = field.find(':');
    require(field.substr(0, colon) == f.name);
    std::string_view value = field.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t'))
      value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t'))
      value.remove_suffix(1);
    require(value == f.value);
    bytes.remove_prefix(field.size() + 2);
  }
  require(bytes == "\r\n");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const HeadLimits limits = data[0] % 4 == 0 ? HeadLimits{.bytes = 96, .fields = 3} : HeadLimits{};
  const std::string text(data + 2, data + size);
  const Outcome whole = read(text, limits, 0);
  require(held(whole.head) <= limits.bytes && whole.head.fields.size() <= limits.fields);
  require((whole.state == State::failed) == (whole.error != HeadError::none));
  for (const std::size_t step : {std::size_t{1}, std::size_t{data[1]} + 2}) {
    const Outcome parts = read(text, limits, step);
    require(parts.state == whole.state && parts.error == whole.error);
    require(parts.consumed == whole.consumed && parts.head == whole.head);
  }
  if (whole.state == State::failed)
    require(status_of(reason_of(whole.error)) == status_of(whole.error));
  if (whole.state == State::done) {
    require(whole.consumed <= limits.bytes);
    check_against_naive_reader(std::string_view(text).substr(0, whole.consumed), whole.head);
    const Outcome again = read(write(whole.head), HeadLimits{}, 0);
    require(again.state == State::done && again.head == whole.head);
  }
  return 0;
}
