#include "gateway/base/error.hpp"

#include <cstring>

namespace oceanid {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return "invalid_argument";
    case Errc::not_found:
      return "not_found";
    case Errc::already_exists:
      return "already_exists";
    case Errc::permission:
      return "permission";
    case Errc::unsupported:
      return "unsupported";
    case Errc::timeout:
      return "timeout";
    case Errc::closed:
      return "closed";
    case Errc::limit:
      return "limit";
    case Errc::io:
      return "io";
    case Errc::protocol:
      return "protocol";
  }
  return "unknown";
}

std::unexpected<Error> fail_errno(std::string_view what, int os_error) {
  Errc code = Errc::io;
  if (os_error == EPERM || os_error == EACCES) code = Errc::permission;
  if (os_error == ENOENT || os_error == ENODEV) code = Errc::not_found;
  if (os_error == EEXIST) code = Errc::already_exists;
  if (os_error == EOPNOTSUPP) code = Errc::unsupported;
  return std::unexpected<Error>(
      Error(code, std::string(what) + ": " + std::strerror(os_error), os_error));
}

}  // namespace oceanid
