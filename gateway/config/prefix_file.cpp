#include "gateway/config/prefix_file.hpp"

#include "gateway/config/report.hpp"
#include "gateway/config/scalars.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

std::string_view trimmed(std::string_view line) {
  line = line.substr(0, line.find('#'));
  const auto from = line.find_first_not_of(" \t\r");
  if (from == std::string_view::npos) return {};
  return line.substr(from, line.find_last_not_of(" \t\r") - from + 1);
}

}  // namespace

PrefixFile parse_prefix_file(std::string_view text) {
  PrefixFile out;
  if (text.size() > max_prefix_file_bytes) {
    out.problems.push_back(
        fmt::format("1: found more than {0} MiB; allowed: a list of up to {0} MiB",
                    max_prefix_file_bytes >> 20));
    return out;
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const PrefixType type;
  std::size_t wrong = 0;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view entry = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (entry.empty()) continue;
    auto prefix = type.parse(entry);
    if (prefix && out.prefixes.size() == max_prefixes) {
      out.problems.push_back(fmt::format(
          "{}: found more than {} prefixes; allowed: up to that many", number, max_prefixes));
      return out;
    }
    if (prefix) {
      out.prefixes.push_back(*prefix);
    } else if (++wrong <= max_prefix_problems) {
      const std::string why = prefix.error().empty() ? "" : " (" + prefix.error() + ")";
      out.problems.push_back(
          fmt::format("{}: {}", number, found_but(quoted(entry) + why, type.allowed())));
    }
  }
  if (wrong > max_prefix_problems)
    out.problems.push_back(fmt::format("{}: {} more lines are no address or prefix", number,
                                       wrong - max_prefix_problems));
  return out;
}

}  // namespace oceanid::config
