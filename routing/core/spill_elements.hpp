#pragma once
// Spills as changes of the sets that the ruleset asks (spill_set). Pure.

#include "routing/core/elements.hpp"
#include "routing/core/port_budget.hpp"

#include <vector>

namespace oceanid::routing {

// For one transaction, whatever is in the sets: an element of a former life would keep its expiry
// when it is added, so it is taken out first; and what has expired cannot be taken out, so it is
// put in before that.
std::vector<ElementChange> changes_of(const std::vector<Spill>& spills);

}  // namespace oceanid::routing
