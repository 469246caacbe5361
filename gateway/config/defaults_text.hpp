#pragma once
// Default values as the operator would write them, for the two documents of schema.hpp.

#include "gateway/base/json_text.hpp"
#include "gateway/base/prefix_list.hpp"
#include "gateway/config/keys.hpp"

#include <algorithm>

namespace oceanid::config {

// JSON and YAML flow style at once: bare numbers and booleans, everything else in quotes.
inline std::string literal(const std::string& text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text == "true" || text == "false") return text;
  if (!text.empty() && std::ranges::all_of(text, digit)) return text;
  std::string out;
  append_json_string(out, text);
  return out;
}

// Empty: nothing to say (a mapping, whose keys speak for themselves).
template <class T, class Type>
std::string default_text(const T& value, const Type& type) {
  return literal(type.show(value));
}
template <class T>
std::string default_text(const T&, const Object&) {
  return {};
}
template <class T, class Item>
std::string default_text(const std::vector<T>& value, const List<Item>& type) {
  if constexpr (std::same_as<Item, Object>) {
    return value.empty() ? "[]" : "";
  } else {
    std::string out;
    for (const T& item : value)
      out += (out.empty() ? "" : ", ") + default_text(item, type.item);
    return "[" + out + "]";
  }
}
template <class Item>
std::string default_text(const PrefixList& value, const List<Item>& type) {
  return default_text(value.all(), type);
}
template <class T, class Inner>
std::string default_text(const std::optional<T>& value, const Nullable<Inner>& type) {
  return value ? default_text(*value, type.inner) : "null";
}

}  // namespace oceanid::config
