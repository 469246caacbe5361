#pragma once
// Reading fields of an HTTP head, for requests and responses alike (RFC 9110 section 5). Pure.

#include "proxy/core/request_head.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

bool equal_without_case(std::string_view a, std::string_view b);  // ASCII only

// The values of all fields of that name, in order; they point into `fields`.
std::vector<std::string_view> values_of(std::span<const Field> fields, std::string_view lower_name);

// The members of a comma-separated list that may stand in several fields; empty members stay.
std::vector<std::string_view> list_members(const std::vector<std::string_view>& values);

bool list_has(std::span<const Field> fields, std::string_view lower_name, std::string_view member);

// 1*DIGIT that fits a signed 64-bit count (RFC 9112 section 6.3: overflow is a recipient's danger).
std::optional<std::uint64_t> parse_content_length(std::string_view text);

bool is_token(std::string_view text);        // RFC 9110 section 5.6.2
bool is_field_value(std::string_view text);  // no CR, LF, NUL or other control byte but HTAB

}  // namespace oceanid::proxy
