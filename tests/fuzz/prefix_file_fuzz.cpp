// Lists of destinations from arbitrary bytes. What must hold: as many as are allowed at most, every
// problem with its line, printable and short, and the value in any order the same when written and
// read again.
#include "gateway/config/prefix_file.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const PrefixFile file = parse_prefix_file(text);
  require(file.prefixes.size() <= max_prefixes);
  require(file.problems.size() <= max_prefix_problems + 1);
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  require(file.prefixes.size() <= lines);
  for (const auto& problem : file.problems) {
    const auto line = oceanid::parse_decimal(problem.substr(0, problem.find(':')), lines);
    require(line.has_value() && *line > 0 && problem.size() < 400);
    require(std::ranges::all_of(problem, [](char c) { return c >= ' ' && c <= '~'; }));
  }
  std::string again;
  for (const auto& prefix : file.prefixes)
    again += prefix.to_string() + "\n";
  const PrefixFile read = parse_prefix_file(again);
  require(read.problems.empty() && read.prefixes == file.prefixes);
  return 0;
}
