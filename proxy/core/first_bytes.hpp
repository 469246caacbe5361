#pragma once
// Which name a client asks for, from the first bytes that it sends to a destination it believes to
// talk to: TLS's SNI, or HTTP's Host. Pure.

#include "proxy/core/client_hello.hpp"
#include "proxy/core/request_head.hpp"

#include <string>
#include <string_view>

namespace oceanid::proxy {

class FirstBytes {
 public:
  explicit FirstBytes(HeadLimits limits) : http_(limits) {}

  // true: more bytes could still bring a name.
  bool feed(std::string_view bytes);
  bool is_tls() const { return protocol_ == Protocol::tls; }
  // In canonical form; empty: there is none. An address is no name.
  const std::string& name() const { return name_; }

 private:
  enum class Protocol : std::uint8_t { unknown, tls, http, other };
  bool feed_tls(std::string_view bytes);
  bool feed_http(std::string_view bytes);

  Protocol protocol_ = Protocol::unknown;
  ClientHelloReader tls_;
  HeadParser http_;
  std::string name_;
};

}  // namespace oceanid::proxy
