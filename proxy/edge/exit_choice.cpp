#include "proxy/edge/exit_choice.hpp"

#include <algorithm>

namespace oceanid::proxy {
namespace {

std::optional<ExitChoice> choice_of(const ExitState& exit) {
  if (!exit.usable || !exit.device || exit.device->empty()) return std::nullopt;
  return ExitChoice{exit.name, exit.device->str(), exit.ipv4, exit.ipv6};
}

}  // namespace

std::optional<ExitChoice> choose_exit(const ExitTable* table, bool configured,
                                      const std::optional<std::string>& pin) {
  if (!configured) return ExitChoice{};
  if (table == nullptr) return std::nullopt;
  if (pin) {
    const auto found = std::ranges::find(table->exits, *pin, &ExitState::name);
    if (found == table->exits.end()) return std::nullopt;
    return choice_of(*found);
  }
  if (!table->active || *table->active >= table->exits.size()) return std::nullopt;
  return choice_of(table->exits[*table->active]);
}

std::optional<ExitChoice> another_exit(const ExitTable* table,
                                       const std::vector<std::string>& tried) {
  if (table == nullptr) return std::nullopt;
  for (const ExitState& exit : table->exits) {
    if (std::ranges::find(tried, exit.name) != tried.end()) continue;
    if (auto choice = choice_of(exit)) return choice;
  }
  return std::nullopt;
}

bool still_usable(const ExitTable* table, const ExitChoice& choice) {
  if (choice.device.empty()) return true;
  if (table == nullptr) return false;
  return std::ranges::any_of(table->exits, [&](const ExitState& exit) {
    return exit.name == choice.name && exit.usable && exit.device &&
           exit.device->str() == choice.device;
  });
}

}  // namespace oceanid::proxy
