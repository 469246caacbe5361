#pragma once
// What an HTTP proxy says to CONNECT (RFC 9110 section 9.3.6), as far as a tunnel cares: whether
// it was granted, and where the answer ends, since the bytes behind it are the destination's. Held
// to 8 KiB; fed byte ranges as they come. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace oceanid::tunnel {

// `authorization`: the value of Proxy-Authorization, empty for none.
std::string connect_request(std::string_view host_and_port, std::string_view authorization);

class ConnectAnswer {
 public:
  enum class State : std::uint8_t { need_more, granted, refused, broken };

  // Takes bytes up to the end of the head and no further; how many, tells taken().
  State feed(std::string_view bytes);
  std::size_t taken() const { return taken_; }
  int status() const { return status_; }  // with granted and refused

 private:
  State judge();

  std::string head_;
  std::size_t taken_ = 0;
  int status_ = 0;
  State state_ = State::need_more;
};

}  // namespace oceanid::tunnel
