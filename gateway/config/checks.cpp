#include "gateway/config/checks.hpp"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

namespace oceanid::config {

void check(const Config& config, const YamlNode& root, Report& report) {
  Checker checker(config, root, report);
  checker.proxy();
  checker.interceptions();
  checker.forwards();
  checker.binds();
  checker.tunnel();
  checker.peers();
  checker.exits();
  checker.serve_exit();
  checker.routing();
  checker.tables();
}

void Checker::add(const std::string& path, const std::string& message) {
  report_.add(place_of(root_, path), path, message);
}

void Checker::exit_name(const std::string& path, const std::optional<std::string>& exit_name) {
  if (!exit_name || !clean(path) || !clean("exits")) return;
  std::vector<std::string_view> known;
  for (const ExitSettings& exit : config_.exits) {
    if (exit.name == *exit_name) return;
    known.push_back(exit.name);
  }
  std::string names;
  for (const std::string_view known_name : known)
    names += (names.empty() ? "" : ", ") + std::string(known_name);
  add(path, known.empty()
                ? found_but(quoted(*exit_name) + ", but there are no exits", "the name of an exit")
                : found_but(quoted(*exit_name), "the name of an exit (" + names + ")"));
}

void Checker::exit_names(const std::string& path, const ExitPin& pin) {
  if (!pin) return;
  for (std::size_t i = 0; i < pin->size(); ++i) {
    const std::string& exit = (*pin)[i];
    const std::string at = pin->size() == 1 ? path : item_path(path, i);
    exit_name(at, exit);
    if (std::ranges::find(*pin, exit) != pin->begin() + static_cast<std::ptrdiff_t>(i))
      add(at, found_but(quoted(exit) + " a second time", "every exit once"));
  }
}

}  // namespace oceanid::config
