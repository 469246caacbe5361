#pragma once
// The last good addresses of endpoint names, as text: one line `NAME ADDRESS…` each. Pure and
// lenient: a line that does not parse is left out, since a damaged memory is better than none.

#include "gateway/base/net_types.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::tunnel {

using AddressBook = std::map<std::string, std::vector<IpAddress>>;

inline constexpr std::size_t max_book_names = 1024;
inline constexpr std::size_t max_book_addresses = 32;  // per name

std::string encode_book(const AddressBook& book);
AddressBook decode_book(std::string_view text);

}  // namespace oceanid::tunnel
