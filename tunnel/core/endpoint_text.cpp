#include "tunnel/core/endpoint_text.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

std::string_view take_until(std::string_view& text, char end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return taken;
}

}  // namespace

std::string encode_book(const AddressBook& book) {
  std::string out;
  for (const auto& [name, addresses] : book) {
    out += name;
    for (const IpAddress& address : addresses)
      out += " " + address.to_string();
    out += '\n';
  }
  return out;
}

AddressBook decode_book(std::string_view text) {
  AddressBook book;
  while (!text.empty() && book.size() < max_book_names) {
    std::string_view line = take_until(text, '\n');
    const std::string name(take_until(line, ' '));
    std::vector<IpAddress> addresses;
    while (!line.empty() && addresses.size() < max_book_addresses)
      if (const auto address = IpAddress::parse(take_until(line, ' ')))
        addresses.push_back(*address);
    if (!name.empty() && !addresses.empty()) book[name] = std::move(addresses);
  }
  return book;
}

}  // namespace oceanid::tunnel
