#pragma once
// The error vocabulary of the whole program. Expected failures travel as values through every
// module border; an exception never crosses one (asio's operation_aborted inside a coroutine
// excepted). An Error says what failed in the user's words; `.context()` adds where, outermost
// first.

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace oceanid {

enum class Errc : std::uint8_t {
  invalid_argument,  // the caller or the configuration is wrong
  not_found,
  already_exists,
  permission,
  unsupported,  // this kernel or this version cannot do it
  timeout,
  closed,    // the peer ended the conversation
  limit,     // a budget of ours is used up
  io,        // the operating system said no; os_error tells
  protocol,  // the other side broke the rules of its protocol
};

std::string_view to_string(Errc code);

struct [[nodiscard]] Error {
  Error(Errc error_code, std::string text, int os = 0)
      : code(error_code), os_error(os), what(std::move(text)) {}

  Error context(std::string_view where) && {
    what = std::string(where) + ": " + what;
    return std::move(*this);
  }

  Errc code;
  int os_error;  // errno, 0 when none
  std::string what;
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code, std::string what) {
  return std::unexpected<Error>(Error(code, std::move(what)));
}

// An operating system call failed: the text of errno is appended.
std::unexpected<Error> fail_errno(std::string_view what, int os_error = errno);

}  // namespace oceanid
