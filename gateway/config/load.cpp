#include "gateway/config/load.hpp"

#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/config/prefix_file.hpp"
#include "routing/core/long_lists.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ranges>
#include <utility>

#include <fmt/format.h>

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

namespace oceanid {
namespace {

constexpr std::string_view list_mark = "#list ";
constexpr std::string_view line_mark = "#| ";

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

// One byte more than is allowed is enough for parse() to refuse it: a device or a huge file costs
// no memory. The error says why it cannot be used.
std::expected<std::string, std::string> read_bounded(const std::string& file, std::size_t most) {
  const auto unreadable = [] {
    return std::unexpected(fmt::format("the file cannot be read ({})", std::strerror(errno)));
  };
  // A pipe (`-c /dev/stdin`) may be waited for, but nobody has to open its other end.
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd || ::fcntl(fd.get(), F_SETFL, 0) != 0) return unreadable();
  std::string text;
  std::array<char, 16384> chunk{};
  while (text.size() <= most) {
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unreadable();
    if (n == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return text;
}

std::expected<std::string, std::string> read_config(const std::string& file) {
  auto text = read_bounded(file, max_config_bytes);
  if (!text) return text;
  if (text->find_first_not_of(" \t\r\n") == std::string::npos)
    return std::unexpected(
        std::string("the file is empty; to run with the defaults, name no file"));
  return text;
}

// The lists that routing keeps in files of their own, one after another behind those of the text.
class ListReader {
 public:
  ListReader(std::vector<ListText> known, LoadedConfig& out)
      : known_(std::move(known)), out_(out) {}

  void read_all(Config& config);

 private:
  std::vector<Prefix> read(const std::optional<std::string>& file, std::string_view key);
  std::expected<std::string, std::string> text_of(const std::string& file);

  std::vector<ListText> known_;
  LoadedConfig& out_;
};

std::expected<std::string, std::string> ListReader::text_of(const std::string& file) {
  for (const ListText& list : known_)
    if (list.path == file) return list.text;
  return read_bounded(file, config::max_prefix_file_bytes);
}

std::vector<Prefix> ListReader::read(const std::optional<std::string>& file, std::string_view key) {
  if (!file) return {};
  const std::string path = "routing." + std::string(key);
  auto text = text_of(*file);
  if (!text) {
    out_.problems.push_back({0, 0, path, fmt::format("{}: {}", *file, text.error())});
    return {};
  }
  config::PrefixFile list = config::parse_prefix_file(*text);
  for (const std::string& problem : list.problems)
    out_.problems.push_back({0, 0, path, fmt::format("{}:{}", *file, problem)});
  out_.lists.push_back({*file, std::move(*text)});
  return std::move(list.prefixes);
}

void ListReader::read_all(Config& config) {
  if (!config.routing) return;
  routing::RoutingSettings& routing = *config.routing;
  if (routing.bypass_file) {
    std::vector<Prefix> all = routing::whole_bypass(routing);
    const std::vector<Prefix> more = read(routing.bypass_file, "bypass_file");
    all.insert(all.end(), more.begin(), more.end());
    routing::set_bypass(routing, std::move(all));
  }
  if (routing.destinations_file) {
    std::vector<Prefix> all = routing.destinations;
    const std::vector<Prefix> more = read(routing.destinations_file, "destinations_file");
    // No destination means every one: an empty list must not turn into its opposite.
    if (all.empty() && more.empty() && out_.problems.empty())
      out_.problems.push_back(
          {0, 0, "routing.destinations_file",
           *routing.destinations_file + ": found no prefix; allowed: one at least"});
    all.insert(all.end(), more.begin(), more.end());
    routing::set_destinations(routing, std::move(all));
  }
}

std::size_t listed_bytes(const Config& config) {
  const routing::RoutingSettings& routing = *config.routing;
  return sizeof(Prefix) *
         (routing.exempt4.size() + routing.exempt6.size() + routing.destinations.size());
}

// What a long text and its tree were built in goes back to the system; glibc would keep it.
void return_memory(std::size_t used) {
  constexpr std::size_t long_text = 256 << 10;
  if (used > long_text) ::malloc_trim(0);
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

std::vector<std::string> list_files(const Config& config) {
  std::vector<std::string> out;
  if (!config.routing) return out;
  for (const auto* file : {&config.routing->bypass_file, &config.routing->destinations_file})
    if (*file) out.push_back(**file);
  return out;
}

// A list that both keys name is there twice; load_config_text() takes the first for either.
std::string to_record(const LoadedConfig& loaded) {
  std::string out = loaded.text;
  if (!loaded.lists.empty() && !out.ends_with('\n')) out += '\n';
  for (const ListText& list : loaded.lists) {
    out += fmt::format("{}{}\n", list_mark, list.path);
    for (const auto line : std::views::split(std::string_view(list.text), '\n'))
      out += fmt::format("{}{}\n", line_mark, std::string_view(line));
  }
  return out;
}

LoadedConfig load_record(const std::string& file, std::string_view record) {
  std::string text;
  std::vector<ListText> lists;
  while (!record.empty()) {
    const std::string_view line = record.substr(0, record.find('\n'));
    const std::string_view whole = record.substr(0, line.size() + 1);
    record.remove_prefix(whole.size());
    if (line.starts_with(list_mark))
      lists.push_back({std::string(line.substr(list_mark.size())), {}});
    else if (line.starts_with(line_mark) && !lists.empty())
      lists.back().text += std::string(line.substr(line_mark.size())) + "\n";
    else
      text += whole;
  }
  // Each line had its end; what was split at them had one line more.
  for (ListText& list : lists)
    if (!list.text.empty()) list.text.pop_back();
  return load_config_text(file, std::move(text), std::move(lists));
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

LoadedConfig load_config_text(const std::string& file, std::string text,
                              std::vector<ListText> lists) {
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
  ListReader(std::move(lists), out).read_all(*parsed);
  if (!out.problems.empty()) locate(out.text, out.problems);
  if (out.problems.empty()) out.config = std::move(*parsed);
  return_memory(out.config && out.config->routing ? out.text.size() + listed_bytes(*out.config)
                                                  : out.text.size());
  return out;
}

}  // namespace oceanid
