#include "gateway/config/report.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

constexpr std::size_t max_problems = 200;
constexpr std::size_t max_quoted = 60;

bool at_or_below(std::string_view path, std::string_view base) {
  return path.starts_with(base) && (base.empty() || path.size() == base.size() ||
                                    path[base.size()] == '.' || path[base.size()] == '[');
}

bool is_word(std::string_view key) {
  return !key.empty() && key.size() <= max_quoted && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// A URL's user and password are secrets, and problems end up in logs. So is what may be one, where
// the scheme is missing, or where no @ ends it but more colons come than a port needs.
std::string without_password(std::string_view text) {
  const auto mark = text.find("://");
  const std::size_t start = mark == std::string_view::npos ? 0 : mark + 3;
  const std::string_view rest = text.substr(start);
  const auto at = rest.rfind('@');
  const bool hidden = at != std::string_view::npos ? start > 0 || rest.find(':') < at
                                                   : start > 0 && !rest.starts_with('[') &&
                                                         std::ranges::count(rest, ':') > 1;
  if (!hidden) return std::string(text);
  return std::string(text.substr(0, start)) + "***" +
         std::string(at == std::string_view::npos ? std::string_view() : rest.substr(at));
}

}  // namespace

void Report::add(Place place, std::string path, const std::string& message) {
  // Once more, whoever wrote it: a parser's own words may hold what it was given.
  problems_.push_back({place.line, place.column, std::move(path), printable(message)});
}

bool Report::clean(std::string_view path) const {
  return std::ranges::none_of(problems_, [&](const Problem& problem) {
    return at_or_below(problem.path, path) || at_or_below(path, problem.path);
  });
}

std::vector<Problem> Report::take() && {
  std::ranges::sort(problems_, {},
                    [](const Problem& p) { return std::tie(p.line, p.column, p.path, p.message); });
  if (problems_.size() > max_problems) {
    const std::size_t more = problems_.size() - max_problems;
    const Place last{problems_[max_problems].line, problems_[max_problems].column};
    problems_.resize(max_problems);
    problems_.push_back(
        {last.line, last.column, "", fmt::format("{} more problems from here on", more)});
  }
  return std::move(problems_);
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= ' ' && c <= '~')
      out += c;
    else
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, max_quoted)) {
    if (c == '"' || c == '\\') out += '\\';
    out += printable({&c, 1});
  }
  if (text.size() > max_quoted) out += "...";
  return out + "\"";
}

std::string join_path(std::string_view base, std::string_view key) {
  const std::string last = is_word(key) ? std::string(key) : quoted(key);
  return base.empty() ? last : fmt::format("{}.{}", base, last);
}

std::string item_path(std::string_view base, std::size_t index) {
  return fmt::format("{}[{}]", base, index);
}

std::string kind_of(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::scalar:
      return quoted(without_password(node.text));
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::map:
      return "a mapping";
  }
  return {};
}

std::string found_but(std::string_view what, std::string_view allowed) {
  return fmt::format("found {}; allowed: {}", what, allowed);
}

std::string_view nearest(std::string_view key, std::span<const std::string_view> known) {
  if (key.size() > max_quoted) return {};
  std::string_view best;
  std::size_t least = (key.size() + 2) / 3 + 1;
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(key, candidate);
    if (distance < least && distance < candidate.size()) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace oceanid::config
