#pragma once
// A list of destinations as a file of its own, for lists that are made by programs: one address or
// prefix a line, '#' comments, empty lines. Pure.

#include "gateway/base/net_types.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace oceanid::config {

inline constexpr std::size_t max_prefix_file_bytes = std::size_t{8} << 20;
inline constexpr std::size_t max_prefixes = 250'000;
inline constexpr std::size_t max_prefix_problems = 10;  // that are named; more are only counted

struct PrefixFile {
  std::vector<Prefix> prefixes;
  std::vector<std::string> problems;  // "17: found ..., allowed: ..." with the line first
};
PrefixFile parse_prefix_file(std::string_view text);

}  // namespace oceanid::config
