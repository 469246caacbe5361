// ClientHellos from arbitrary bytes. Byte 0 picks how the stream is cut, byte 1 how the same
// message is cut into records. What must hold: the cuts change nothing; a name is canonical.
#include "gateway/base/net_types.hpp"
#include "proxy/core/client_hello.hpp"
#include "proxy/core/target.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace oceanid;
using namespace oceanid::proxy;
using State = ClientHelloReader::State;

void require(bool condition) {
  if (!condition) std::abort();
}

ClientHelloReader read(std::string_view bytes, std::size_t step) {
  ClientHelloReader out;
  for (std::size_t i = 0; i < bytes.size(); i += step)
    out.feed(bytes.substr(i, step));
  return out;
}

std::string records(std::string_view message, std::size_t each) {
  std::string out;
  for (std::size_t i = 0; i < message.size(); i += each) {
    const auto part = message.substr(i, each);
    out += "\x16\x03\x01";
    out += static_cast<char>(part.size() >> 8);
    out += static_cast<char>(part.size() & 0xff);
    out += part;
  }
  return out;
}

void same(const ClientHelloReader& one, const ClientHelloReader& other) {
  require(one.state() == other.state() && one.name() == other.name());
}

void check_name(const std::string& name) {
  if (name.empty()) return;
  const auto canonical = canonical_host(name);
  require(canonical.has_value() && *canonical == name && !IpAddress::parse(name));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 20000) return 0;
  const std::string text(data + 2, data + size);
  const auto whole = read(text, std::max<std::size_t>(text.size(), 1));
  same(whole, read(text, std::size_t{data[0]} + 1));
  check_name(whole.name());

  const auto framed = read(records(text, 16384), 16384);
  if (text.size() < 4000) same(framed, read(records(text, std::size_t{data[1]} + 1), 100));
  check_name(framed.name());
  return 0;
}
