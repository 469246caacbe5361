#pragma once
// The part of a difference that a switch of the exit makes, and that may come before all the rest
// of it. Pure; any thread.
//
// A default route of the egress table leads to one tunnel or to another: guard, rules and what is
// translated are the same for all exits that both the state in force and the one under way know, so
// nothing leaves wrongly however much of that one stands already. Where there is no default now,
// none is made: whether the guard stands is not known here, and opening comes behind it (diff.hpp).

#include "routing/core/diff.hpp"

#include <cstdint>
#include <vector>

namespace oceanid::routing {

// Leads somewhere: an unreachable one does not.
bool is_open_default(const Route& route);

// Of diff(desired, actual): the defaults of `table` that are replaced, or that go and leave an
// unreachable one.
std::vector<NetlinkChange> exit_switch(const NetworkState& desired, const Actual& actual,
                                       std::uint32_t table);

// The device of `route` carries a default of another table, too: its exit's own.
bool is_exit_of(const Route& route, const std::vector<Route>& routes);

// `routes` with that default replaced, or taken away.
void take_switch(const NetlinkChange& change, std::vector<Route>& routes);

// Whether both are about the same default: undoing one would undo the other.
bool is_same_default(const NetlinkChange& one, const NetlinkChange& other);

}  // namespace oceanid::routing
