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
  std::string path;               // where to read it again; empty for the embedded default
  std::string file;               // for messages: the path, or "(embedded default)"
  std::string text;               // empty for the embedded default
  std::optional<Config> config;   // none: `problems` says why
  std::vector<Problem> problems;  // features of a later version included
};

// Never throws. A file with nothing in it is a problem: a disk that was full when somebody edited
// it must not turn a gateway with a kill switch into a plain proxy.
LoadedConfig load_config(const std::string& file);

// The same for a text that was read before, as if `file` held it.
LoadedConfig load_config_text(const std::string& file, std::string text);

// One line each.
std::string all_problems(const LoadedConfig& loaded);

// Besides the file itself and secrets: the lists that load_config() reads for it.
std::vector<std::string> list_files(const Config& config);

// From this process's surroundings: host name, root or not, XDG directories.
ParseContext parse_context(const std::string& file);

// The same decision everywhere: an empty text is the embedded default.
std::expected<Config, std::vector<Problem>> parse_or_default(const std::string& text,
                                                             const ParseContext& context);

}  // namespace oceanid
