#include "tunnel/core/key_turn.hpp"

#include <algorithm>

namespace oceanid::tunnel {

KeyTurn::Verdict KeyTurn::observe(std::optional<std::uint64_t> waiting_rx,
                                  std::optional<Time> silent_since, Time now) {
  if (!waiting_rx) {
    baseline_.reset();
    return Verdict::stay;
  }
  const bool settling = turned_at_ && now - *turned_at_ < settle;
  // A smaller counter is that of a peer made anew.
  if (!baseline_ || settling || *waiting_rx < *baseline_) baseline_ = waiting_rx;
  if (*waiting_rx > *baseline_) return Verdict::spoke;
  if (!silent_since) return Verdict::stay;
  const Time since = turned_at_ ? std::max(*turned_at_, *silent_since) : *silent_since;
  return now - since >= patience ? Verdict::silent : Verdict::stay;
}

void KeyTurn::turned(Time now) {
  baseline_.reset();
  turned_at_ = now;
}

KeyBook decode_key_book(std::string_view text) {
  KeyBook book;
  while (!text.empty() && book.size() < max_key_book) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0) continue;
    if (const auto key = PublicKey::from_base64(line.substr(space + 1)))
      book.insert_or_assign(std::string(line.substr(0, space)), *key);
  }
  return book;
}

std::string encode_key_book(const KeyBook& book) {
  std::string out;
  for (const auto& [name, key] : book)
    out += name + " " + key.to_base64() + "\n";
  return out;
}

}  // namespace oceanid::tunnel
