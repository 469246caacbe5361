#pragma once
// How a request ended, in one vocabulary: the same Reason makes the status line, the Proxy-Status
// field (RFC 9209), the access record's `error` and the metric's `outcome`. Programs behind a proxy
// rarely show the body of a failed CONNECT, so the reason stands in the status, the phrase and the
// fields as well.

#include "proxy/core/request_head.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace oceanid::proxy {

enum class Reason : std::uint8_t {
  ok,
  bad_request,  // the head breaks RFC 9112
  bad_target,   // the destination is not HOST:PORT
  bad_host,     // the Host field is not HOST[:PORT]
  target_too_long,
  head_too_large,  // bytes or number of fields
  head_timeout,
  version_not_supported,
  method_not_supported,
  coding_not_supported,
  client_not_allowed,
  port_not_allowed,
  policy_denied,
  destination_prohibited,  // the guard
  dns_error,               // NXDOMAIN, no address, SERVFAIL
  dns_timeout,
  connection_refused,
  connection_reset,  // the destination ended the connection while it was being opened
  connection_timeout,
  destination_unreachable,  // no route, host or network unreachable
  breaker_open,             // it failed so often that it gets a rest
  no_exit,                  // no exit is usable
  tunnel_limit,
  client_limit,
  role_limit,     // the role's tunnels
  rate_limit,     // the role's requests per second
  auth_required,  // no user and password were given
  auth_failed,    // they are wrong
  auth_limit,     // too many wrong ones from this client
  source_ports_exhausted,
  overloaded,  // descriptors or memory
  shutting_down,
  internal_error,
  handshake_failed,      // of TLS, SOCKS5 or the PROXY protocol
  bad_response,          // the origin's response breaks RFC 9112
  loop_detected,         // the request has been here before
  scheme_not_supported,  // a plain request for something else than http://
  // The parent proxy (proxy.parent):
  parent_unreachable,  // its name, or the connection to it
  parent_auth,         // it answered 407
  parent_denied,       // it answered 403
  parent_failed,       // it answered otherwise
  parent_unavailable,  // it answered 429 or 503
  parent_timeout,      // it answered 504, or not in time
  parent_bad_answer,   // it broke RFC 9112, or ended the connection
  client_gone,         // the client left before there was an answer; never sent
};
inline constexpr auto last_reason = Reason::client_gone;

struct ReasonRow {
  Reason reason;
  std::string_view token;  // log and metric
  int status;
  std::string_view phrase;
  std::string_view proxy_error;  // RFC 9209 section 2.3 error type; empty: none
  int retry_after;               // seconds; 0: no Retry-After
  std::string_view meaning;      // one sentence, the default for Answer::detail
};

std::span<const ReasonRow> reason_table();  // in the order of the enumerators
const ReasonRow& row_of(Reason reason);
std::string_view to_string(Reason reason);  // the token
int status_of(Reason reason);
// The operator's rules said no, as opposed to a bad request or a destination that does not answer.
bool is_denial(Reason reason);
Reason reason_of(HeadError error);
// Whether a client whose plain request met this may ask again on the same connection: nothing was
// wrong with the request itself, and the connection's own place is not what is short.
bool leaves_connection(Reason reason);

// Why there will be no connection: what a session turns into its protocol's answer.
struct Refusal {
  Reason reason = Reason::internal_error;
  std::string detail;       // empty: the reason's own sentence
  std::string next_hop;     // ADDRESS:PORT that was tried; empty: none
  int retry_after = 0;      // seconds, when more is known than the reason's own figure
  int received_status = 0;  // of the next hop's answer; 0: there was none
};

struct Answer {
  Reason reason = Reason::internal_error;
  std::string request_id;
  std::string
      detail;  // one human sentence; empty: the table's. May hold untrusted text, it is escaped
  std::string next_hop;     // ADDRESS:PORT that was tried; empty: none
  std::string node;         // this gateway's name; empty: left out
  bool json = false;        // the client accepts application/json
  int retry_after = 0;      // seconds; 0: the table's
  int received_status = 0;  // of the next hop's answer; 0: there was none
  bool keep_alive = false;
};

// A complete reply, ready to send. The connection is to be closed after it (RFC 9931), unless it
// answers a plain request that was read to its end.
std::string render_answer(const Answer& answer);

// The 200 that opens a tunnel: no Content-Length, no Transfer-Encoding (RFC 9110 section 9.3.6).
std::string render_connected(std::string_view next_hop, std::string_view request_id);

// Whether the client's Accept field asks for JSON rather than text.
bool wants_json(const RequestHead& head);

}  // namespace oceanid::proxy
