#include "tunnel/core/path_book.hpp"

#include "gateway/base/net_types.hpp"
#include "tunnel/core/mtu.hpp"

#include <algorithm>

namespace oceanid::tunnel {

std::string encode_paths(const PathBook& book) {
  std::string out;
  for (const auto& [place, size] : book)
    out += place + ' ' + std::to_string(size) + '\n';
  return out;
}

PathBook decode_paths(std::string_view text) {
  PathBook book;
  while (!text.empty() && book.size() < max_known_paths) {
    const std::string_view line = text.substr(0, std::min(text.find('\n'), text.size()));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos) continue;
    const auto size = parse_decimal(line.substr(space + 1), largest_path_mtu);
    if (size && *size >= smallest_inner_mtu)
      book[std::string(line.substr(0, space))] = static_cast<unsigned>(*size);
  }
  return book;
}

}  // namespace oceanid::tunnel
