#include "proxy/core/htpasswd.hpp"

#include "gateway/base/net_types.hpp"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

constexpr std::size_t max_hash = 256;
constexpr std::size_t max_users = 10000;
constexpr std::uint64_t max_bcrypt_cost = 14;  // about a second
constexpr std::uint64_t max_rounds = 1'000'000;
constexpr std::size_t max_problems = 20;

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool is_hash_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
         c == '/' || c == '$' || c == '=';
}

std::string_view fault_of_bcrypt(std::string_view hash) {
  if (hash.size() != 60 || hash[6] != '$') return "the bcrypt hash is not complete";
  const auto cost = hash.substr(4, 2);
  if (!std::ranges::all_of(cost, [](char c) { return c >= '0' && c <= '9'; }))
    return "the bcrypt hash has no cost";
  const auto value =
      static_cast<std::uint64_t>(cost[0] - '0') * 10 + static_cast<std::uint64_t>(cost[1] - '0');
  if (value < 4 || value > max_bcrypt_cost) return "the bcrypt cost must be from 4 to 14";
  return {};
}

std::string_view fault_of_sha(std::string_view hash) {
  std::string_view rest = hash.substr(3);
  constexpr std::string_view rounds = "rounds=";
  if (rest.starts_with(rounds)) {
    rest.remove_prefix(rounds.size());
    const auto end = rest.find('$');
    if (end == std::string_view::npos || !parse_decimal(rest.substr(0, end), max_rounds))
      return "the hash has more than 1000000 rounds";
    rest.remove_prefix(end + 1);
  }
  const auto salt = rest.find('$');
  const std::size_t digest = hash[1] == '5' ? 43 : 86;
  if (salt == std::string_view::npos || salt > 16 || rest.size() - salt - 1 != digest)
    return "the hash is not complete";
  return {};
}

std::string_view fault_of_hash(std::string_view hash) {
  if (hash.size() > max_hash || !std::ranges::all_of(hash, is_hash_byte))
    return "no hash that this gateway takes: bcrypt ($2y$), $5$ or $6$";
  if (hash.starts_with("$2y$") || hash.starts_with("$2b$") || hash.starts_with("$2a$"))
    return fault_of_bcrypt(hash);
  if (hash.starts_with("$5$") || hash.starts_with("$6$")) return fault_of_sha(hash);
  return "no hash that this gateway takes: bcrypt (htpasswd -B), $5$ or $6$";
}

std::string_view fault_of_user(std::string_view user) {
  if (user.empty() || user.size() > max_user) return "a user's name has 1 to 128 bytes";
  if (std::ranges::any_of(user, is_control)) return "a user's name has no control characters";
  return {};
}

int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// RFC 4648 section 4; padding may be left out, as some clients do.
std::optional<std::string> from_base64(std::string_view text) {
  for (int i = 0; i < 2 && text.ends_with('='); ++i)
    text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const int value = value_of(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>((bits >> held) & 0xff);
  }
  return out;
}

}  // namespace

UsersFile parse_users(std::string_view text) {
  UsersFile out;
  const auto problem = [&](std::size_t line, std::string_view what) {
    if (out.problems.size() < max_problems)
      out.problems.push_back(fmt::format("line {}: {}", line, what));
  };
  for (std::size_t line = 1; !text.empty(); ++line) {
    const auto end = text.find('\n');
    std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (row.empty() || row.starts_with('#')) continue;
    const auto colon = row.find(':');
    if (colon == std::string_view::npos) {
      problem(line, "expected USER:HASH");
      continue;
    }
    const std::string_view user = row.substr(0, colon);
    const std::string_view hash = row.substr(colon + 1);
    std::string_view fault = fault_of_user(user);
    if (fault.empty()) fault = fault_of_hash(hash);
    if (fault.empty() && out.users.size() == max_users) fault = "more than 10000 users";
    if (fault.empty() && !out.users.emplace(user, hash).second)
      fault = "the user has a line already; that one counts";
    if (!fault.empty()) problem(line, fault);
  }
  return out;
}

std::optional<Credentials> parse_basic(std::string_view field) {
  constexpr std::string_view scheme = "basic";
  if (field.size() <= scheme.size() ||
      !std::ranges::equal(field.substr(0, scheme.size()), scheme,
                          [](char a, char b) { return (a | 0x20) == b; }))
    return std::nullopt;
  field.remove_prefix(scheme.size());
  if (!field.starts_with(' ')) return std::nullopt;
  while (field.starts_with(' '))
    field.remove_prefix(1);
  while (field.ends_with(' ') || field.ends_with('\t'))
    field.remove_suffix(1);
  if (field.size() > 2 * (max_user + max_password)) return std::nullopt;
  const auto plain = from_base64(field);
  if (!plain) return std::nullopt;
  const auto colon = plain->find(':');
  if (colon == std::string::npos || std::ranges::any_of(*plain, is_control)) return std::nullopt;
  Credentials out{plain->substr(0, colon), plain->substr(colon + 1)};
  if (out.user.empty() || out.user.size() > max_user || out.password.size() > max_password)
    return std::nullopt;
  return out;
}

}  // namespace oceanid::proxy
