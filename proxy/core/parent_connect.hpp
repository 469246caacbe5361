#pragma once
// What is said to a parent proxy, and what its answer means to our client. Pure.

#include "proxy/core/answer.hpp"
#include "proxy/core/parent.hpp"
#include "proxy/core/response_head.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace oceanid::proxy {

// The CONNECT for a destination, by the host that the client named (RFC 9110 section 9.3.6).
// `received_via`: the Via field of the client's request, empty when there was none; ours goes
// behind it, so that a loop over several proxies is found out (RFC 9110 section 7.6.3).
std::string render_parent_connect(const ParentProxy& parent, const HostPort& destination,
                                  std::string_view received_via, std::string_view pseudonym);

// None: the tunnel is open. Not for interim responses.
std::optional<Refusal> refusal_of_parent(const ResponseHead& answer);

}  // namespace oceanid::proxy
