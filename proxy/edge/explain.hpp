#pragma once
// Answers `oceanid explain` with the resolver, the guard, the policy and the exits that requests
// meet; connects nowhere.

#include "proxy/core/explanation.hpp"
#include "proxy/edge/server_core.hpp"

#include <functional>

namespace oceanid::proxy {

// Errors: what is wrong with the question.
awaitable<void> explain(ServerCore& core, ExplainQuery query,
                        std::function<void(Result<Explanation>)> done);

// The MTU of that device; without one, that of the route to the address. 0: unknown.
unsigned mtu_towards(const std::string& device, const IpAddress& address);

}  // namespace oceanid::proxy
