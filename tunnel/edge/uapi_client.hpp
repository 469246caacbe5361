#pragma once
// One question and one answer over a WireGuard UAPI socket, without blocking and with a deadline.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"

#include <chrono>
#include <string>

#include <sys/types.h>

namespace oceanid::tunnel {

inline constexpr std::chrono::seconds uapi_patience{2};

struct UapiAnswer {
  std::string text;   // complete, with its blank line; may hold secrets: wipe() it
  pid_t server = -1;  // the process that listens on the socket (SO_PEERCRED)
};

// not_found: nobody listens there. permission: somebody else's process does; it was sent nothing.
// timeout: somebody does and says nothing (a stopped process).
awaitable<Result<UapiAnswer>> uapi_exchange(std::string socket_path, std::string request,
                                            std::chrono::nanoseconds patience = uapi_patience);

}  // namespace oceanid::tunnel
