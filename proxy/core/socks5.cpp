#include "proxy/core/socks5.hpp"

#include "proxy/core/client_acl.hpp"
#include "proxy/core/target.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace oceanid::proxy {
namespace {

using State = Socks5State;

constexpr std::uint8_t version = 5;
constexpr std::uint8_t credentials_version = 1;
constexpr std::uint8_t command_connect = 1;
constexpr std::uint8_t command_bind = 2;
constexpr std::uint8_t command_udp_associate = 3;
constexpr std::uint8_t type_v4 = 1;
constexpr std::uint8_t type_name = 3;
constexpr std::uint8_t type_v6 = 4;
constexpr std::size_t request_fixed = 4;

std::uint8_t byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<std::uint8_t>(bytes[i]);
}

template <std::size_t N>
std::array<std::uint8_t, N> bytes_at(std::string_view bytes, std::size_t i) {
  std::array<std::uint8_t, N> out{};
  for (std::size_t n = 0; n < N; ++n)
    out[n] = byte_at(bytes, i + n);
  return out;
}

std::string_view name_of_command(std::uint8_t command) {
  switch (command) {
    case command_connect:
      return "CONNECT";
    case command_bind:
      return "BIND";
    case command_udp_associate:
      return "UDP ASSOCIATE";
    default:
      return {};
  }
}

Socks5Request failed(Socks5Request out, Socks5Reply error, std::string detail) {
  out.state = State::failed;
  out.error = error;
  out.detail = std::move(detail);
  return out;
}

// The length of the address field, whose type stands at byte 3; 0: an unknown type or not there
// yet.
std::size_t address_size(std::string_view bytes) {
  switch (byte_at(bytes, 3)) {
    case type_v4:
      return 4;
    case type_v6:
      return 16;
    case type_name:
      return bytes.size() > request_fixed ? std::size_t{1} + byte_at(bytes, 4) : 0;
    default:
      return 0;
  }
}

}  // namespace

Socks5Greeting read_socks5_greeting(std::string_view bytes) {
  Socks5Greeting out;
  if (!bytes.empty() && byte_at(bytes, 0) != version) {
    out.state = State::failed;
    return out;
  }
  if (bytes.size() < 2) return out;
  const std::size_t methods = byte_at(bytes, 1);
  if (bytes.size() < 2 + methods) return out;
  for (const char c : bytes.substr(2, methods)) {
    out.offers_none = out.offers_none || c == 0;
    out.offers_password = out.offers_password || c == 2;
  }
  out.size = 2 + methods;
  out.state = State::done;
  return out;
}

Socks5Method choose_socks5_method(const Socks5Greeting& greeting, bool password_needed) {
  if (password_needed)
    return greeting.offers_password ? Socks5Method::password : Socks5Method::unacceptable;
  return greeting.offers_none ? Socks5Method::none : Socks5Method::unacceptable;
}

std::string socks5_method(Socks5Method method) {
  return {static_cast<char>(version), static_cast<char>(method)};
}

Socks5Credentials read_socks5_credentials(std::string_view bytes) {
  Socks5Credentials out;
  if (!bytes.empty() && byte_at(bytes, 0) != credentials_version) {
    out.state = State::failed;
    return out;
  }
  if (bytes.size() < 2) return out;
  const std::size_t user = byte_at(bytes, 1);
  if (user == 0) {  // RFC 1929: 1 to 255
    out.state = State::failed;
    return out;
  }
  if (bytes.size() < 3 + user) return out;
  const std::size_t password = byte_at(bytes, 2 + user);
  if (bytes.size() < 3 + user + password) return out;
  out.user = bytes.substr(2, user);
  out.password = bytes.substr(3 + user, password);
  out.size = 3 + user + password;
  out.state = State::done;
  return out;
}

std::string socks5_credentials_answer(bool accepted) {
  return {static_cast<char>(credentials_version), accepted ? '\0' : '\1'};
}

// Judged as soon as it is known, the whole message or not: a client that asks for what we lack
// need not be waited for.
Socks5Request read_socks5_request(std::string_view bytes) {
  Socks5Request out;
  if (!bytes.empty() && byte_at(bytes, 0) != version)
    return failed(std::move(out), Socks5Reply::general_failure, "the request is not SOCKS5");
  if (bytes.size() < request_fixed) return out;
  out.method = name_of_command(byte_at(bytes, 1));
  if (byte_at(bytes, 1) != command_connect)
    return failed(std::move(out), Socks5Reply::command_not_supported,
                  "of SOCKS5's commands only CONNECT is supported");
  if (byte_at(bytes, 2) != 0)
    return failed(std::move(out), Socks5Reply::general_failure,
                  "the request's reserved byte is not zero");
  const std::uint8_t type = byte_at(bytes, 3);
  if (type != type_v4 && type != type_name && type != type_v6)
    return failed(std::move(out), Socks5Reply::address_type_not_supported,
                  "the address is neither IPv4, IPv6 nor a name");
  const std::size_t address = address_size(bytes);
  const std::size_t size = request_fixed + address + 2;
  if (address == 0 || bytes.size() < size) return out;

  out.size = size;
  out.target.port =
      static_cast<std::uint16_t>((byte_at(bytes, size - 2) << 8) | byte_at(bytes, size - 1));
  if (type == type_name) {
    out.host = bytes.substr(request_fixed + 1, address - 1);
    auto name = canonical_host(out.host);
    if (!name) return failed(std::move(out), Socks5Reply::general_failure, name.error().what);
    out.target.host = std::move(*name);
    out.target.absolute = is_absolute_name(out.host);
  } else {
    const auto literal = type == type_v4
                             ? IpAddress::v4(bytes_at<4>(bytes, request_fixed))
                             : unmapped(IpAddress::v6(bytes_at<16>(bytes, request_fixed)));
    out.host = literal.to_string();
    out.target.host = out.host;
  }
  if (out.target.port == 0)
    return failed(std::move(out), Socks5Reply::general_failure, "the destination's port is 0");
  out.state = State::done;
  return out;
}

Socks5Reply socks5_reply_of(Reason reason) {
  if (reason == Reason::ok) return Socks5Reply::succeeded;
  if (is_denial(reason)) return Socks5Reply::not_allowed;
  switch (reason) {
    case Reason::method_not_supported:
      return Socks5Reply::command_not_supported;
    case Reason::dns_error:
    case Reason::dns_timeout:
    case Reason::breaker_open:
    case Reason::parent_failed:
    case Reason::parent_unavailable:
      return Socks5Reply::host_unreachable;
    case Reason::parent_denied:
      return Socks5Reply::not_allowed;
    case Reason::parent_unreachable:
    case Reason::destination_unreachable:
    case Reason::no_exit:
      return Socks5Reply::network_unreachable;
    case Reason::connection_refused:
    case Reason::connection_reset:
      return Socks5Reply::connection_refused;
    case Reason::parent_timeout:
    case Reason::connection_timeout:  // what other servers say and clients show as a timeout
      return Socks5Reply::ttl_expired;
    default:
      return Socks5Reply::general_failure;
  }
}

std::string socks5_reply(Socks5Reply reply, const SocketAddress& bound) {
  std::string out{static_cast<char>(version), static_cast<char>(reply), '\0',
                  static_cast<char>(bound.address.is_v4() ? type_v4 : type_v6)};
  for (const std::uint8_t byte : bound.address.bytes())
    out += static_cast<char>(byte);
  out += static_cast<char>(bound.port >> 8);
  out += static_cast<char>(bound.port & 0xffU);
  return out;
}

}  // namespace oceanid::proxy
