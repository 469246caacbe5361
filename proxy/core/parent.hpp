#pragma once
// The proxy that clients' connections go through (`proxy.parent`): where it is and who we are to
// it. Pure.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"

#include <string>
#include <string_view>

namespace oceanid::proxy {

struct ParentProxy {
  HostPort at;
  // The value of Proxy-Authorization (RFC 7617); empty: none. A secret: for that field and nothing
  // else.
  std::string authorization;
  bool operator==(const ParentProxy&) const = default;
};

// http://[USER[:PASSWORD]@]HOST:PORT, user and password percent-encoded. Errors say what is wrong
// and never repeat the text, which may hold the password.
Result<ParentProxy> parse_parent(std::string_view url);

}  // namespace oceanid::proxy
