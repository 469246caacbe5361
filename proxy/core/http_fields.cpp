#include "proxy/core/http_fields.hpp"

#include <algorithm>
#include <limits>

namespace oceanid::proxy {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

bool is_token_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::vector<std::string_view> values_of(std::span<const Field> fields,
                                        std::string_view lower_name) {
  std::vector<std::string_view> out;
  for (const Field& field : fields)
    if (equal_without_case(field.name, lower_name)) out.push_back(field.value);
  return out;
}

std::vector<std::string_view> list_members(const std::vector<std::string_view>& values) {
  std::vector<std::string_view> out;
  for (std::string_view value : values)
    for (;;) {
      const auto comma = value.find(',');
      out.push_back(without_blanks(value.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      value.remove_prefix(comma + 1);
    }
  return out;
}

bool list_has(std::span<const Field> fields, std::string_view lower_name, std::string_view member) {
  return std::ranges::any_of(
      list_members(values_of(fields, lower_name)),
      [&](std::string_view found) { return equal_without_case(found, member); });
}

std::optional<std::uint64_t> parse_content_length(std::string_view text) {
  if (text.empty()) return std::nullopt;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (value > (most - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_byte);
}

bool is_field_value(std::string_view text) {
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

}  // namespace oceanid::proxy
