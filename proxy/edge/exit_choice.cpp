#include "proxy/edge/exit_choice.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::proxy {
namespace {

std::optional<ExitChoice> choice_of(const ExitState& exit) {
  if (!exit.usable || !exit.device || exit.device->empty()) return std::nullopt;
  return ExitChoice{exit.name, exit.device->str(), exit.ipv4, exit.ipv6};
}

// Those that may be used, in order of preference.
std::vector<const ExitState*> eligible(const ExitTable& table, const ExitPin& pin) {
  std::vector<const ExitState*> out;
  if (!pin) {
    for (const ExitState& exit : table.exits)
      out.push_back(&exit);
    return out;
  }
  for (const std::string& name : *pin) {
    const auto found = std::ranges::find(table.exits, name, &ExitState::name);
    if (found != table.exits.end()) out.push_back(&*found);
  }
  std::ranges::sort(out, {}, [&](const ExitState* exit) {
    return std::pair(exit->reserve, std::ranges::find(*pin, exit->name));
  });
  return out;
}

}  // namespace

std::optional<ExitChoice> choose_exit(const ExitTable* table, bool configured, const ExitPin& pin) {
  if (!configured) return ExitChoice{};
  if (table == nullptr) return std::nullopt;
  if (pin) return another_exit(table, pin, {});
  if (!table->active || *table->active >= table->exits.size()) return std::nullopt;
  return choice_of(table->exits[*table->active]);
}

std::optional<ExitChoice> another_exit(const ExitTable* table, const ExitPin& pin,
                                       const std::vector<std::string>& tried) {
  if (table == nullptr) return std::nullopt;
  for (const ExitState* exit : eligible(*table, pin)) {
    if (std::ranges::find(tried, exit->name) != tried.end()) continue;
    if (auto choice = choice_of(*exit)) return choice;
  }
  return std::nullopt;
}

bool may_use(const ExitPin& pin, const std::string& exit) {
  return !pin || std::ranges::find(*pin, exit) != pin->end();
}

std::string none_usable(const ExitPin& pin) {
  if (!pin) return "no exit is usable";
  if (pin->size() == 1) return fmt::format("exit {} is not usable", pin->front());
  return fmt::format("none of the exits {} is usable", fmt::join(*pin, ", "));
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
