#pragma once
// How the table of keys is written. keys_*.hpp hold one function template for each mapping of the
// configuration:
//
//   template <class Visitor>
//   void describe(Visitor& v, proxy::Timeouts& s) {
//     v.field({"head", "a request head must be complete within"}, s.head, duration);
//   }
//
// Three visitors walk it: the decoder (decoder.hpp), the search for features of a later version
// (unavailable.cpp) and the writer of the schema and of the reference document (schema.cpp).

#include "gateway/config/report.hpp"
#include "gateway/config/scalars.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::config {

struct Key {
  std::string_view name;
  std::string_view doc;
  bool required = false;
  bool later = false;               // any value but the type's zero is not in this version
  std::string_view default_text{};  // when the default depends on the surroundings
};

// What an optional mapping starts from when it is there.
template <class T>
T initial() {
  return T{};
}

// A mapping with a describe() of its own.
struct Object {};

// A list; a single value stands for a list of one when the items are scalars.
template <class Item>
struct List {
  Item item;
  bool required = false;  // at least one
};

template <class Inner>
struct Nullable {
  Inner inner;
};

template <class Item>
List(Item) -> List<Item>;
template <class Item>
List(Item, bool) -> List<Item>;
template <class Inner>
Nullable(Inner) -> Nullable<Inner>;

// A value with a shape of its own: it reads a node, says what it allows, and may check for later
// features.
template <class Type>
concept Custom = requires(const Type& type, Report& report, const YamlNode& node,
                          const std::string& path, typename Type::Value& value) {
  type.read(report, node, path, value);
  { type.allowed() } -> std::same_as<std::string>;
  { type.show(value) } -> std::same_as<std::string>;
  { type.schema() } -> std::same_as<std::string>;
};

template <class Type>
std::string allowed_of(const Type& type) {
  return type.allowed();
}
inline std::string allowed_of(const Object&) {
  return "a mapping";
}
template <class Item>
std::string allowed_of(const List<Item>& type);
template <class Inner>
std::string allowed_of(const Nullable<Inner>& type) {
  return allowed_of(type.inner) + ", or null";
}
template <class Item>
std::string allowed_of(const List<Item>& type) {
  if constexpr (std::same_as<Item, Object>)
    return type.required ? "one mapping or more, in a list" : "a list of mappings";
  else
    return (type.required ? "one or more of: " : "a list of: ") + allowed_of(type.item);
}

inline constexpr DurationType<> duration{};  // above zero
inline constexpr DurationType<> duration_or_zero{.min = milliseconds(0)};
inline constexpr AddressType address{};
inline constexpr PrefixType prefix{};
inline constexpr BindType bind_address{};
inline constexpr ServerType dns_server{};
inline constexpr HostPortType host_port{};
inline constexpr IfNameType interface_name{};
inline constexpr BoolType boolean{};
inline constexpr NameType name{};
inline constexpr CountType<std::uint32_t> count_from_one{1, 10'000'000};
inline constexpr CountType<std::uint32_t> count_from_zero{0, 10'000'000};

}  // namespace oceanid::config
