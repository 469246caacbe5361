#pragma once
// Who may say that they are whom: asked by HTTP Basic and by SOCKS5. Shared by the event loops, so
// an implementation is safe to ask from any of them; a slow check must not keep a loop from
// turning.

#include "gateway/base/runtime/asio.hpp"

#include <optional>
#include <string>

namespace oceanid::proxy {

class Authenticator {
 public:
  Authenticator() = default;
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;
  virtual ~Authenticator() = default;
  // The user's name as policy knows it; none: the password does not prove it.
  virtual awaitable<std::optional<std::string>> verify(std::string user, std::string password) = 0;
  // Proven a short while ago: known without work.
  virtual bool is_remembered(const std::string& /*user*/, const std::string& /*password*/) {
    return false;
  }
};

}  // namespace oceanid::proxy
