#include "proxy/core/first_bytes.hpp"

#include "gateway/base/net_types.hpp"
#include "proxy/core/target.hpp"

#include <utility>

namespace oceanid::proxy {
namespace {

constexpr char tls_handshake = 22;

// The host of HOST or HOST:PORT, IPv6 in brackets.
std::string_view without_port(std::string_view field) {
  if (field.starts_with('[')) return field.substr(0, field.find(']') + 1);
  return field.substr(0, field.find(':'));
}

}  // namespace

bool FirstBytes::feed(std::string_view bytes) {
  if (bytes.empty()) return true;
  if (protocol_ == Protocol::unknown) {
    const char first = bytes.front();
    protocol_ = first == tls_handshake         ? Protocol::tls
                : first >= 'A' && first <= 'Z' ? Protocol::http
                                               : Protocol::other;
  }
  switch (protocol_) {
    case Protocol::tls:
      return feed_tls(bytes);
    case Protocol::http:
      return feed_http(bytes);
    default:
      return false;
  }
}

bool FirstBytes::feed_tls(std::string_view bytes) {
  const auto state = tls_.feed(bytes);
  name_ = tls_.name();
  return state == ClientHelloReader::State::need_more;
}

bool FirstBytes::feed_http(std::string_view bytes) {
  if (http_.feed(bytes) != HeadParser::State::done)
    return http_.state() == HeadParser::State::need_more;
  const std::string* host = http_.head().find("host");
  if (host == nullptr || !is_host_field(*host)) return false;
  auto name = canonical_host(without_port(*host));
  if (name && !IpAddress::parse(*name)) name_ = std::move(*name);
  return false;
}

}  // namespace oceanid::proxy
