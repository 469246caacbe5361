// Any text goes through the configuration's parser without a crash; what it refuses has places
// inside the text and what it accepts survives the search for later features.
#include "gateway/config/parse.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 16384) return 0;
  const std::string text(data, data + size);
  const auto lines = static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return c == '\n' || c == '\r'; }));
  oceanid::ParseContext context;
  context.host_name = "fuzz";
  const auto config = oceanid::parse(text, context);
  if (!config) {
    require(!config.error().empty());
    for (const oceanid::Problem& problem : config.error()) {
      require(problem.line >= 1 && problem.column >= 1);
      require(problem.line <= lines + 2 && problem.column <= size + 2);
      require(!problem.message.empty());
      require(
          std::ranges::all_of(problem.to_string("f"), [](char c) { return c >= ' ' && c <= '~'; }));
    }
    return 0;
  }
  auto problems = oceanid::unavailable(*config);
  oceanid::locate(text, problems);
  for (const oceanid::Problem& problem : problems)
    require(problem.line >= 1 && problem.line <= lines + 2);
  return 0;
}
