#include "routing/core/spill_elements.hpp"

#include "routing/core/model.hpp"

#include <initializer_list>

namespace oceanid::routing {
namespace {

KeyElement element_of(const Destination& to) {
  KeyElement out;
  out.key.address(to.address).protocol(to.protocol).port(to.port);
  out.timeout = PortBudget::spill_lifetime;
  return out;
}

}  // namespace

std::vector<ElementChange> changes_of(const std::vector<Spill>& spills) {
  using enum ElementAction;
  std::vector<ElementChange> out;
  const auto change = [&](const Destination& to, std::size_t number,
                          std::initializer_list<ElementAction> actions) {
    if (number == 0) return;  // the first address needs no set
    for (const auto action : actions)
      out.push_back({.set = spill_set(to.address.family(), number),
                     .action = action,
                     .prefixes = {},
                     .keys = {element_of(to)}});
  };
  for (const Spill& spill : spills) {
    if (spill.before != spill.number) change(spill.to, spill.before, {add, remove});
    change(spill.to, spill.number, {add, remove, add});
  }
  return out;
}

}  // namespace oceanid::routing
