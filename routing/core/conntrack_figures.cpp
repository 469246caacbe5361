#include "routing/core/conntrack_figures.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr std::uint64_t warn_percent = 80;
constexpr std::uint64_t calm_percent = 70;
constexpr std::uint64_t between_refusals = 60;

std::string_view next_word(std::string_view& text, char end) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, std::min(text.find(end), text.size()));
  text.remove_prefix(std::min(word.size() + 1, text.size()));
  return word;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  while (line.find_first_not_of(' ') != std::string_view::npos)
    out.push_back(next_word(line, ' '));
  return out;
}

}  // namespace

// The first line names the columns, one line for each processor follows, in hexadecimal.
std::optional<ConntrackFigures> parse_conntrack_stat(std::string_view text) {
  const auto names = words_of(next_word(text, '\n'));
  const auto column = [&](std::string_view name) {
    return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
  };
  const std::size_t failed = column("insert_failed");
  const std::size_t drop = column("drop");
  if (failed == names.size() || drop == names.size()) return std::nullopt;
  ConntrackFigures out;
  while (!text.empty()) {
    const auto values = words_of(next_word(text, '\n'));
    if (values.size() != names.size()) return std::nullopt;
    const auto add = [&](std::size_t at, std::uint64_t& sum) {
      std::uint64_t value = 0;
      const char* end = values[at].data() + values[at].size();
      if (std::from_chars(values[at].data(), end, value, 16).ptr != end) return false;
      sum += value;
      return true;
    };
    if (!add(failed, out.insert_failed) || !add(drop, out.dropped)) return std::nullopt;
  }
  return out;
}

std::optional<std::string> ConntrackWatch::tick(const ConntrackFigures& now,
                                                std::uint64_t seconds) {
  const std::uint64_t percent = now.limit == 0 ? 0 : now.entries * 100 / now.limit;
  if (percent < calm_percent) told_full_ = false;
  if (percent >= warn_percent && !told_full_) {
    told_full_ = true;
    return fmt::format(
        "the table of connections is {} % full ({} of {}): new ones fail when it is; raise it with "
        "sysctl -w net.netfilter.nf_conntrack_max={}",
        percent, now.entries, now.limit, now.limit * 2);
  }
  const std::uint64_t refused = now.insert_failed + now.dropped;
  const std::uint64_t before = refused_.value_or(refused);
  if (refused <= before) {
    refused_ = refused;
    return std::nullopt;
  }
  if (told_at_ && seconds < *told_at_ + between_refusals) return std::nullopt;
  told_at_ = seconds;
  refused_ = refused;
  return fmt::format(
      "{} new connections were dropped: no free port on the exit's address towards their "
      "destination, or no room in the table ({} of {}); give serve_exit.snat a further address, or "
      "put a connection pooler in front of the destination",
      refused - before, now.entries, now.limit);
}

}  // namespace oceanid::routing
