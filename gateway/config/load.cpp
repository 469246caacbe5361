#include "gateway/config/load.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include <unistd.h>

namespace oceanid {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace

ParseContext parse_context(const std::string& file) {
  ParseContext context;
  context.file = file;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) context.host_name = name.data();
  context.root = ::geteuid() == 0;
  context.xdg_state_home = environment("XDG_STATE_HOME");
  context.xdg_runtime_dir = environment("XDG_RUNTIME_DIR");
  context.home = environment("HOME");
  return context;
}

std::expected<Config, std::vector<Problem>> parse_or_default(const std::string& text,
                                                             const ParseContext& context) {
  if (text.empty() && context.file.empty()) return default_config(context);
  return parse(text, context);
}

LoadedConfig load_config(const std::string& file) {
  LoadedConfig out;
  out.file = file.empty() ? "(embedded default)" : file;
  const ParseContext context = parse_context(file);
  if (!file.empty()) {
    std::ifstream in(file, std::ios::binary);
    if (in) out.text.assign(std::istreambuf_iterator<char>(in), {});
    if (!in.is_open() || in.bad()) {
      out.problems.push_back(
          {1, 1, "", fmt::format("the file cannot be read ({})", std::strerror(errno))});
      return out;
    }
  }
  auto parsed = parse_or_default(out.text, context);
  if (!parsed) {
    out.problems = std::move(parsed.error());
    return out;
  }
  out.problems = unavailable(*parsed);
  locate(out.text, out.problems);
  if (out.problems.empty()) out.config = std::move(*parsed);
  return out;
}

}  // namespace oceanid
