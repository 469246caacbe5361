#pragma once
// From YAML text to a Config, or to every problem in it at once. Pure: the
// caller reads the file, and what the surroundings decide (host name, root, XDG directories) comes
// in as ParseContext.

#include "gateway/config/config.hpp"

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid {

struct Problem {
  unsigned line = 0;  // 1-based, as is the column (in bytes); 0: no place in a file is known
  unsigned column = 0;
  std::string path;     // tunnel.peers[0].name; empty: the file as a whole
  std::string message;  // what was found, what is allowed

  // FILE:LINE:COLUMN: path.of.key: message
  std::string to_string(std::string_view file) const;
  bool operator==(const Problem&) const = default;
};

struct ParseContext {
  std::string file;  // as the user named it
  std::string host_name;
  bool root = false;
  std::optional<std::string> xdg_state_home;
  std::optional<std::string> xdg_runtime_dir;
  std::optional<std::string> home;
};

// A text over this many bytes is refused before it is looked at. 100,000 prefixes take two million.
inline constexpr std::size_t max_config_bytes = std::size_t{4} << 20;

// The problems are sorted by place and never empty. An empty document is the default configuration.
std::expected<Config, std::vector<Problem>> parse(std::string_view yaml,
                                                  const ParseContext& context);

// What `run` without a file uses: proxy on [::]:3128, admin on 127.0.0.1:2000, nothing else.
Config default_config(const ParseContext& context);

// What the configuration asks for, validly, and this version cannot do. The caller refuses to start
// with them: a key is never silently ignored. Without places, see locate().
std::vector<Problem> unavailable(const Config& config);

// Fills in the line and column of problems that name only a path, from the text they are about.
void locate(std::string_view yaml, std::vector<Problem>& problems);

}  // namespace oceanid
