#pragma once
// JSON forms of what the worker says about its policy: `explain`, `suggest`.

#include "gateway/ipc/json_types.hpp"
#include "proxy/core/explanation.hpp"
#include "proxy/core/inventory.hpp"

namespace oceanid::proxy {

BOOST_DESCRIBE_STRUCT(ExplainQuery, (), (destination, from, user, certificates))
BOOST_DESCRIBE_STRUCT(ExplainedAddress, (), (address, allowed, usable, rule))
BOOST_DESCRIBE_STRUCT(Explanation, (),
                      (host, port, from, user, role, rule, verdict, reason, status, exit, device,
                       parent, mtu, addresses, sentence, routed))
BOOST_DESCRIBE_STRUCT(ReachedDestination, (), (host, port, count, rule))
BOOST_DESCRIBE_STRUCT(RoleInventory, (), (role, other, destinations))

}  // namespace oceanid::proxy
