#pragma once
// What paths carried when they were last measured, as text for state_dir: one line `PLACE SIZE`
// each, so that a restart begins with the right size instead of Ethernet's. Pure and lenient: a
// line that does not parse is left out.

#include <map>
#include <string>
#include <string_view>

namespace oceanid::tunnel {

inline constexpr std::size_t max_known_paths = 1024;

using PathBook = std::map<std::string, unsigned>;  // bytes of an outer packet, by place

std::string encode_paths(const PathBook& book);
PathBook decode_paths(std::string_view text);

}  // namespace oceanid::tunnel
