#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/endpoint_book.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::size_t longest_book = std::size_t{1} << 20;

}  // namespace

EndpointBook::EndpointBook(std::string path) : path_(std::move(path)) {
  const auto text = read_small_file(path_, longest_book);
  if (text)
    book_ = decode_book(*text);
  else if (text.error().code != Errc::not_found)
    log::warn("tunnel", "cannot read the remembered endpoints, ignoring",
              {{"error", text.error().what}});
}

bool EndpointBook::remember(const std::string& name, std::vector<IpAddress> addresses) {
  if (addresses.empty()) return false;
  if (addresses.size() > max_book_addresses) addresses.resize(max_book_addresses);
  if (!book_.contains(name) && book_.size() >= max_book_names) return false;
  std::vector<IpAddress>& known = book_[name];
  // Round-robin name servers turn the same addresses round; that is no news.
  if (std::ranges::is_permutation(known, addresses)) return false;
  known = std::move(addresses);
  const auto written = write_file_atomically(path_, encode_book(book_), 0600);
  if (!written)
    log::warn("tunnel", "cannot write the remembered endpoints, ignoring",
              {{"error", written.error().what}});
  return true;
}

std::vector<IpAddress> EndpointBook::find(const std::string& host) const {
  if (const auto literal = IpAddress::parse(host)) return {*literal};
  const auto at = book_.find(host);
  return at == book_.end() ? std::vector<IpAddress>() : at->second;
}

}  // namespace oceanid::tunnel
