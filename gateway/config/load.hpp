#pragma once
// Reading a configuration from disk for a process that is about to use it: the text, the value, and
// every problem with its place. An empty path is the embedded default.

#include "gateway/config/config.hpp"
#include "gateway/config/parse.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid {

// What stood in a file of prefixes (routing.bypass_file, routing.destinations_file).
struct ListText {
  std::string path;
  std::string text;
  bool operator==(const ListText&) const = default;
};

struct LoadedConfig {
  std::string path;               // where to read it again; empty for the embedded default
  std::string file;               // for messages: the path, or "(embedded default)"
  std::string text;               // empty for the embedded default
  std::vector<ListText> lists;    // the files that the text names, as they were read for it
  std::optional<Config> config;   // none: `problems` says why
  std::vector<Problem> problems;  // features of a later version included
};

// Never throws. A file with nothing in it is a problem: a disk that was full when somebody edited
// it must not turn a gateway with a kill switch into a plain proxy.
LoadedConfig load_config(const std::string& file);

// The same for a text that was read before, as if `file` held it, and for its lists. Those that are
// not among `lists` are read from disk.
LoadedConfig load_config_text(const std::string& file, std::string text,
                              std::vector<ListText> lists = {});

// Text and lists as one text, a configuration of its own: the lists follow as comments.
std::string to_record(const LoadedConfig& loaded);
LoadedConfig load_record(const std::string& file, std::string_view record);

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
