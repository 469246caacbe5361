#pragma once
// SOCKS5 (RFC 1928) with user names and passwords (RFC 1929): the client's three messages and our
// answers, as pure functions over the bytes that have come so far. With more bytes behind a message
// the answer for it is the same, so a client may send all of them at once.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace oceanid::proxy {

enum class Socks5State : std::uint8_t { need_more, done, failed };

enum class Socks5Method : std::uint8_t { none = 0x00, password = 0x02, unacceptable = 0xff };

struct Socks5Greeting {
  Socks5State state = Socks5State::need_more;
  std::size_t size = 0;
  bool offers_none = false;
  bool offers_password = false;
};
Socks5Greeting read_socks5_greeting(std::string_view bytes);  // failed: not SOCKS5 at all
std::string socks5_method(Socks5Method method);

// A client without a password may still offer one (curl does): it is only asked for when needed.
Socks5Method choose_socks5_method(const Socks5Greeting& greeting, bool password_needed);

struct Socks5Credentials {
  Socks5State state = Socks5State::need_more;
  std::size_t size = 0;
  std::string user;  // 1 to 255 bytes, any
  std::string password;
};
Socks5Credentials read_socks5_credentials(std::string_view bytes);
std::string socks5_credentials_answer(bool accepted);

enum class Socks5Reply : std::uint8_t {
  succeeded = 0x00,
  general_failure = 0x01,
  not_allowed = 0x02,
  network_unreachable = 0x03,
  host_unreachable = 0x04,
  connection_refused = 0x05,
  ttl_expired = 0x06,
  command_not_supported = 0x07,
  address_type_not_supported = 0x08,
};

struct Socks5Request {
  Socks5State state = Socks5State::need_more;
  std::size_t size = 0;
  Socks5Reply error = Socks5Reply::succeeded;  // when failed: what to answer
  std::string method;                          // CONNECT, BIND, UDP ASSOCIATE; empty: another
  std::string host;    // as sent: a literal's canonical text, or the name's bytes
  HostPort target;     // canonical, when done
  std::string detail;  // one sentence, when failed; never repeats the client's bytes
};
Socks5Request read_socks5_request(std::string_view bytes);

Socks5Reply socks5_reply_of(Reason reason);
// `bound`: the address that our connection to the destination comes from; all zero on failure.
std::string socks5_reply(Socks5Reply reply, const SocketAddress& bound = {});

}  // namespace oceanid::proxy
