#pragma once
// Reading a configuration from disk for a process that is about to use it: the text, the value, and
// every problem with its place. An empty path is the embedded default.

#include "gateway/config/config.hpp"
#include "gateway/config/parse.hpp"

#include <optional>
#include <string>
#include <vector>

namespace oceanid {

struct LoadedConfig {
  std::string file;               // as named; "(embedded default)" when none
  std::string text;               // empty for the embedded default
  std::optional<Config> config;   // none: `problems` says why
  std::vector<Problem> problems;  // features of a later version included
};

LoadedConfig load_config(const std::string& file);

// From this process's surroundings: host name, root or not, XDG directories.
ParseContext parse_context(const std::string& file);

// The same decision everywhere: an empty text is the embedded default.
std::expected<Config, std::vector<Problem>> parse_or_default(const std::string& text,
                                                             const ParseContext& context);

}  // namespace oceanid
