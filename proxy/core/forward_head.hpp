#pragma once
// What a forward proxy changes in the heads that pass through it (RFC 9110 sections 7.6 and 7.7,
// RFC 9112 sections 3.2 and 7). Pure.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "proxy/core/message_framing.hpp"
#include "proxy/core/request_head.hpp"
#include "proxy/core/response_head.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::proxy {

// An absolute-form request target, "http://host[:port]/path?query".
struct AbsoluteTarget {
  HostPort destination;
  std::string host_field;   // as the Host field to the origin names it
  std::string origin_form;  // the request target for the origin: "/path?query", "*" for OPTIONS
};

// Errors: Errc::unsupported for another scheme than http, Errc::protocol for nonsense; one sentence
// that does not repeat the client's text.
Result<AbsoluteTarget> parse_absolute(std::string_view target, std::string_view method);

struct ForwardedHead {
  std::string pseudonym;   // our name in Via
  bool keep_alive = true;  // whether we want to use this connection again
  std::string upgrade;     // what the client wants to switch to; empty: nothing
};

// The head for the origin: origin-form, Host of the target, hop-by-hop and Proxy-* fields gone,
// Via added. `framing` decides how the content will be sent.
std::string render_request(const RequestHead& head, const AbsoluteTarget& target, Framing framing,
                           const ForwardedHead& how);

// The head for the client. `framing`: how the content will be sent to it.
std::string render_response(const ResponseHead& head, Framing framing, const ForwardedHead& how);

// Max-Forwards of TRACE and OPTIONS: zero means that we are the one to answer.
std::optional<std::uint64_t> max_forwards(const RequestHead& head);

// "OPTIONS *" to the proxy, or TRACE and OPTIONS that may not be forwarded any further.
bool is_for_us(const RequestHead& head);
// The whole answer to such a request. TRACE returns the head as we received it, without what could
// give a secret away (RFC 9110 section 9.3.8).
std::string render_own_answer(const RequestHead& head, bool keep_alive);

// Our own pseudonym in Via: the request has been here before.
bool is_loop(const RequestHead& head, std::string_view pseudonym);

// The protocols that a request wants to switch to (Connection: upgrade), or nothing.
std::string wanted_upgrade(const RequestHead& head);
// Those of a 101 (RFC 9110 section 7.8); nothing when it names one that was not wanted.
std::string agreed_upgrade(const ResponseHead& head, std::string_view wanted);

// The client may be waiting for a word before it sends its content.
bool expects_continue(const RequestHead& head);

}  // namespace oceanid::proxy
