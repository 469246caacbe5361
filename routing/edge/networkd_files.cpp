// networkd.conf(5): the main file, then all drop-ins in the order of their names; the last word
// counts. Of two drop-ins with one name that in /etc hides that in /run, and both that in /usr/lib.

#include "gateway/base/runtime/state_file.hpp"
#include "routing/edge/host_survey.hpp"

#include <filesystem>
#include <map>
#include <string_view>

namespace oceanid::routing {
namespace {

constexpr std::size_t most_bytes = 1 << 20;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::optional<bool> boolean(std::string_view text) {
  for (const auto* yes : {"1", "yes", "y", "true", "t", "on"})
    if (text == yes) return true;
  for (const auto* no : {"0", "no", "n", "false", "f", "off"})
    if (text == no) return false;
  return std::nullopt;
}

void read_settings(std::string_view text, Networkd& out) {
  bool network = false;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('[')) network = line == "[Network]";
    const auto equals = line.find('=');
    if (!network || equals == std::string_view::npos || line.starts_with('#') ||
        line.starts_with(';'))
      continue;
    const std::string_view key = trimmed(line.substr(0, equals));
    const auto value = boolean(trimmed(line.substr(equals + 1)));
    if (key == "ManageForeignRoutes") out.routes = value;
    if (key == "ManageForeignRoutingPolicyRules") out.rules = value;
    if (key == "ManageForeignNextHops") out.next_hops = value;
  }
}

}  // namespace

std::optional<Networkd> read_networkd(const std::string& root) {
  namespace fs = std::filesystem;
  std::error_code ec;
  if (!fs::exists(root + "/run/systemd/netif/state", ec)) return std::nullopt;
  Networkd out;
  for (const auto* folder : {"/etc", "/run", "/usr/local/lib", "/usr/lib"}) {
    const auto text = read_small_file(root + folder + "/systemd/networkd.conf", most_bytes);
    if (!text) continue;
    read_settings(*text, out);
    break;  // the first one that exists hides the others
  }
  std::map<std::string, std::string> drop_ins;  // name → path
  for (const auto* folder : {"/usr/lib", "/usr/local/lib", "/run", "/etc"})
    for (const auto& entry : fs::directory_iterator(root + folder + "/systemd/networkd.conf.d", ec))
      if (entry.path().extension() == ".conf")
        drop_ins[entry.path().filename().string()] = entry.path().string();
  for (const auto& [name, path] : drop_ins)
    if (const auto text = read_small_file(path, most_bytes)) read_settings(*text, out);
  return out;
}

}  // namespace oceanid::routing
