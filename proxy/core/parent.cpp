#include "proxy/core/parent.hpp"

#include "proxy/core/target.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace oceanid::proxy {
namespace {

constexpr std::size_t longest_url = 2048;

std::unexpected<Error> refuse(std::string_view why) {
  return fail(Errc::invalid_argument, std::string(why));
}

int value_of_hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = value_of_hex(text[i + 1]);
    const int low = value_of_hex(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

// RFC 4648 section 4.
std::string to_base64(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = (bits << 8U) | (k < group.size() ? static_cast<unsigned char>(group[k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= group.size() ? digits[(bits >> (18U - 6U * k)) & 63U] : '=';
  }
  return out;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

Result<std::string> basic_of(std::string_view user_info) {
  const auto colon = user_info.find(':');
  const auto user = percent_decoded(user_info.substr(0, colon));
  const auto password = percent_decoded(
      colon == std::string_view::npos ? std::string_view() : user_info.substr(colon + 1));
  if (!user || !password) return refuse("% stands before two hexadecimal digits; itself it is %25");
  if (user->empty()) return refuse("there is no user before the @");
  // RFC 7617 section 2: the first colon ends the user.
  if (user->contains(':')) return refuse("a user's name holds no colon");
  if (std::ranges::any_of(*user + *password, is_control))
    return refuse("user and password hold no control characters");
  return "Basic " + to_base64(*user + ':' + *password);
}

}  // namespace

Result<ParentProxy> parse_parent(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  if (url.starts_with("https://"))
    return refuse(
        "the way to a parent is not encrypted by this gateway; give the address of a TLS "
        "client that stands before it, stunnel for instance");
  if (!url.starts_with(scheme)) return refuse("a parent's URL begins with http://");
  const auto bad = [](char c) { return c <= ' ' || c > '~' || c == '"' || c == '\\'; };
  if (url.size() > longest_url || std::ranges::any_of(url, bad))
    return refuse("other bytes than a URL's; in user and password they are written %XX");
  std::string_view rest = url.substr(scheme.size());
  if (rest.find_first_of("/?#") != std::string_view::npos)
    return refuse("there is no path after the port; / ? # in a password are %2F %3F %23");
  ParentProxy out;
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
    auto authorization = basic_of(rest.substr(0, at));
    if (!authorization) return std::unexpected(std::move(authorization.error()));
    out.authorization = std::move(*authorization);
    rest.remove_prefix(at + 1);
  }
  auto where = parse_authority(rest);
  if (!where) return refuse("HOST:PORT is missing or malformed");
  out.at = std::move(*where);
  return out;
}

}  // namespace oceanid::proxy
