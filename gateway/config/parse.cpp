#include "gateway/config/parse.hpp"

#include "gateway/config/checks.hpp"
#include "gateway/config/decoder.hpp"
#include "gateway/config/keys_all.hpp"
#include "gateway/config/yaml_tree.hpp"
#include "routing/core/long_lists.hpp"

#include <algorithm>
#include <cctype>
#include <tuple>

#include <fmt/format.h>

namespace oceanid {
namespace {

// The first label of the host name, in the letters that a node's name has.
std::string node_name(std::string_view host_name) {
  std::string out;
  for (const char c : host_name.substr(0, host_name.find('.')).substr(0, 63)) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const bool good = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
    out += good ? lower : '-';
  }
  return out.empty() ? "localhost" : out;
}

// The XDG Base Directory specification: a relative path counts as not set.
std::optional<std::string> absolute(const std::optional<std::string>& path) {
  return path && path->starts_with('/') ? path : std::nullopt;
}

std::string default_state_dir(const ParseContext& context) {
  if (!context.root) {
    if (const auto state = absolute(context.xdg_state_home)) return *state + "/oceanid";
    if (const auto home = absolute(context.home)) return *home + "/.local/state/oceanid";
  }
  return "/var/lib/oceanid";
}

std::optional<std::string> default_run_dir(const ParseContext& context) {
  if (context.root) return "/run/oceanid";
  const auto runtime = absolute(context.xdg_runtime_dir);
  return runtime ? std::optional(*runtime + "/oceanid") : std::nullopt;
}

}  // namespace

std::string Problem::to_string(std::string_view file) const {
  std::string out(file);
  if (line != 0) out += fmt::format(":{}:{}", line, column);
  if (!path.empty()) out += ": " + path;
  return out + ": " + message;
}

Config default_config(const ParseContext& context) {
  Config out;
  out.node = node_name(context.host_name);
  out.state_dir = default_state_dir(context);
  out.run_dir = default_run_dir(context);
  out.admin_bind = {IpAddress::v4({127, 0, 0, 1}), 2000};
  out.proxy.listeners.emplace_back().bind = {IpAddress::any(Family::v6), 3128};
  return out;
}

std::expected<Config, std::vector<Problem>> parse(std::string_view yaml,
                                                  const ParseContext& context) {
  config::Report report;
  const config::YamlNode root = config::parse_yaml(yaml, report);
  Config out = default_config(context);
  // A document of comments alone is a configuration with nothing to say; a broken one has no more
  // to add.
  if (report.empty() && root.kind != config::YamlNode::Kind::null) {
    config::Decoder::object(report, root, "", out);
    config::check(out, root, report);
  }
  if (report.empty()) {
    if (out.routing) {
      routing::set_bypass(*out.routing, out.routing->bypass);
      routing::set_destinations(*out.routing, out.routing->destinations);
    }
    return out;
  }
  return std::unexpected(std::move(report).take());
}

void locate(std::string_view yaml, std::vector<Problem>& problems) {
  config::Report ignored;
  const config::YamlNode root = config::parse_yaml(yaml, ignored);
  for (Problem& problem : problems) {
    const config::Place place = config::place_of(root, problem.path);
    problem.line = place.line;
    problem.column = place.column;
  }
  std::ranges::sort(problems, {},
                    [](const Problem& p) { return std::tie(p.line, p.column, p.path); });
}

}  // namespace oceanid
