#include "gateway/config/load.hpp"

#include "gateway/base/runtime/unique_fd.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

namespace oceanid {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

// One byte more than is allowed is enough for parse() to refuse it: a device or a huge file costs
// no memory. The error says why it cannot be used.
std::expected<std::string, std::string> read_config(const std::string& file) {
  const auto unreadable = [] {
    return std::unexpected(fmt::format("the file cannot be read ({})", std::strerror(errno)));
  };
  // A pipe (`-c /dev/stdin`) may be waited for, but nobody has to open its other end.
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd || ::fcntl(fd.get(), F_SETFL, 0) != 0) return unreadable();
  std::string text;
  std::array<char, 16384> chunk{};
  while (text.size() <= max_config_bytes) {
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unreadable();
    if (n == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(n));
  }
  if (text.find_first_not_of(" \t\r\n") == std::string::npos)
    return std::unexpected(
        std::string("the file is empty; to run with the defaults, name no file"));
  return text;
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

std::string all_problems(const LoadedConfig& loaded) {
  std::string out;
  for (const auto& problem : loaded.problems)
    out += (out.empty() ? "" : "\n") + problem.to_string(loaded.file);
  return out;
}

LoadedConfig load_config(const std::string& file) {
  std::string text;
  if (!file.empty()) {
    auto read = read_config(file);
    if (!read) {
      LoadedConfig out;
      out.path = file;
      out.file = file;
      out.problems.push_back({1, 1, "", std::move(read.error())});
      return out;
    }
    text = std::move(*read);
  }
  return load_config_text(file, std::move(text));
}

LoadedConfig load_config_text(const std::string& file, std::string text) {
  LoadedConfig out;
  out.path = file;
  out.file = file.empty() ? "(embedded default)" : file;
  out.text = std::move(text);
  auto parsed = parse_or_default(out.text, parse_context(file));
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
