#include "proxy/core/answer.hpp"

#include "gateway/base/json_text.hpp"

#include <array>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// The one table of outcomes. 403 stands for "we will not", 502/504 for "we could not", 429/503 for
// "not now" (with Retry-After). 407 is absent: it belongs with Proxy-Authenticate only (RFC 9110
// section 15.5.8). Error types are RFC 9209's; where its recommended status is 502 for a prohibited
// address we say 403, since the reason is a rule and a retry elsewhere will not help.
using enum Reason;
constexpr std::array rows = {
    ReasonRow{ok, "ok", 200, "Connection Established", "", 0, "the tunnel was opened"},
    ReasonRow{bad_request, "bad_request", 400, "Malformed Request Head", "http_request_error", 0,
              "the request head is malformed"},
    ReasonRow{bad_target, "bad_target", 400, "Malformed Destination", "http_request_error", 0,
              "the destination is not HOST:PORT"},
    ReasonRow{bad_host, "bad_host", 400, "Malformed Host Field", "http_request_error", 0,
              "the Host field is not HOST or HOST:PORT"},
    ReasonRow{target_too_long, "target_too_long", 414, "Destination Too Long", "http_request_error",
              0, "the request target is too long"},
    ReasonRow{head_too_large, "head_too_large", 431, "Request Head Too Large", "http_request_error",
              0, "the request head is larger than the limit"},
    ReasonRow{head_timeout, "head_timeout", 408, "Request Head Timeout", "http_request_error", 0,
              "the request head did not arrive in time"},
    ReasonRow{version_not_supported, "version_not_supported", 505, "HTTP Version Not Supported",
              "http_request_error", 0, "only HTTP/1.1 and HTTP/1.0 are spoken here"},
    ReasonRow{method_not_supported, "method_not_supported", 501, "Method Not Supported",
              "http_request_error", 0, "this method is not supported by the proxy"},
    ReasonRow{coding_not_supported, "coding_not_supported", 501, "Transfer Coding Not Supported",
              "http_request_error", 0, "chunked is the only transfer coding spoken here"},
    ReasonRow{client_not_allowed, "client_not_allowed", 403, "Client Not Allowed",
              "http_request_denied", 0,
              "this client's address may not use the proxy (proxy.clients)"},
    ReasonRow{port_not_allowed, "port_not_allowed", 403, "Port Not Allowed", "http_request_denied",
              0, "the destination's port is not allowed (proxy.connect_ports)"},
    ReasonRow{policy_denied, "policy_denied", 403, "Denied By Policy", "http_request_denied", 0,
              "the policy denies this destination"},
    ReasonRow{destination_prohibited, "destination_prohibited", 403,
              "Destination Address Prohibited", "destination_ip_prohibited", 0,
              "the destination's address is in a range that is not for clients"},
    ReasonRow{dns_error, "dns_error", 502, "Name Not Resolved", "dns_error", 0,
              "the destination's name could not be resolved"},
    ReasonRow{dns_timeout, "dns_timeout", 504, "Name Resolution Timeout", "dns_timeout", 0,
              "no name server answered in time"},
    ReasonRow{connection_refused, "connection_refused", 502, "Connection Refused By Destination",
              "connection_refused", 0, "the destination refused the connection"},
    ReasonRow{connection_reset, "connection_reset", 502, "Connection Reset By Destination",
              "connection_terminated", 0,
              "the destination ended the connection while it was being opened"},
    ReasonRow{connection_timeout, "connection_timeout", 504, "Connection Timeout",
              "connection_timeout", 0, "the destination did not answer in time"},
    ReasonRow{destination_unreachable, "destination_unreachable", 502, "Destination Unreachable",
              "destination_ip_unroutable", 0, "there is no route to the destination"},
    ReasonRow{breaker_open, "breaker_open", 503, "Destination Suspended After Failures",
              "destination_unavailable", 1,
              "the destination failed repeatedly and is not tried for a moment"},
    ReasonRow{no_exit, "no_exit", 503, "No Usable Exit", "destination_unavailable", 1,
              "no exit can carry this connection now"},
    ReasonRow{tunnel_limit, "tunnel_limit", 503, "Too Many Tunnels", "connection_limit_reached", 1,
              "the gateway's limit of open tunnels is reached (limits.tunnels)"},
    ReasonRow{client_limit, "client_limit", 429, "Too Many Tunnels From This Client",
              "http_request_denied", 1,
              "this client's limit of open tunnels is reached (limits.per_client)"},
    ReasonRow{role_limit, "role_limit", 429, "Too Many Tunnels In This Role", "http_request_denied",
              1, "the limit of open tunnels of the client's role is reached (limits.tunnels)"},
    ReasonRow{rate_limit, "rate_limit", 429, "Too Many Requests In This Role",
              "http_request_denied", 1,
              "the client's role asks more often than it may (limits.rate)"},
    ReasonRow{auth_required, "auth_required", 407, "Proxy Authentication Required",
              "http_request_denied", 0, "this proxy wants a user name and a password"},
    ReasonRow{auth_failed, "auth_failed", 407, "Proxy Authentication Failed", "http_request_denied",
              0, "the user name or the password is wrong"},
    ReasonRow{auth_limit, "auth_limit", 429, "Too Many Wrong Passwords", "http_request_denied", 5,
              "this client gave too many wrong passwords and has to wait"},
    ReasonRow{source_ports_exhausted, "source_ports_exhausted", 503, "Source Ports Exhausted",
              "connection_limit_reached", 1, "no source port is left for this destination"},
    ReasonRow{overloaded, "overloaded", 503, "Gateway Overloaded", "connection_limit_reached", 1,
              "the gateway is out of descriptors or memory"},
    ReasonRow{shutting_down, "shutting_down", 503, "Gateway Shutting Down",
              "proxy_internal_response", 1,
              "the gateway is draining; a new connection reaches its successor"},
    ReasonRow{internal_error, "internal_error", 500, "Gateway Error", "proxy_internal_error", 0,
              "the gateway failed; its log has the request id"},
    ReasonRow{handshake_failed, "handshake_failed", 400, "Handshake Failed", "tls_protocol_error",
              0, "the handshake of TLS, SOCKS5 or the PROXY protocol failed"},
    ReasonRow{bad_response, "bad_response", 502, "Malformed Response From Destination",
              "http_protocol_error", 0, "the destination's response breaks the rules of HTTP"},
    ReasonRow{loop_detected, "loop_detected", 502, "Forwarding Loop", "proxy_loop_detected", 0,
              "the request has passed through this gateway before"},
    ReasonRow{scheme_not_supported, "scheme_not_supported", 400, "Scheme Not Supported",
              "http_request_error", 0, "only http:// is forwarded; https:// goes through CONNECT"},
    ReasonRow{parent_unreachable, "parent_unreachable", 502, "Parent Proxy Not Reached",
              "destination_unavailable", 0, "there is no connection to the parent proxy"},
    ReasonRow{parent_auth, "parent_auth", 502, "Parent Proxy Refuses Our Credentials",
              "proxy_configuration_error", 0,
              "the parent proxy wants another user or password (its 407; proxy.parent)"},
    ReasonRow{parent_denied, "parent_denied", 403, "Denied By Parent Proxy", "http_request_denied",
              0, "the parent proxy denies this destination (its 403)"},
    ReasonRow{parent_failed, "parent_failed", 502, "Parent Proxy Could Not Connect",
              "destination_unavailable", 0,
              "the parent proxy did not open the connection (by another status than 403, 407, 429, "
              "503, 504)"},
    ReasonRow{parent_unavailable, "parent_unavailable", 503, "Parent Proxy Cannot Connect Now",
              "destination_unavailable", 1,
              "the parent proxy cannot connect now (its 429 or 503, with its Retry-After)"},
    ReasonRow{parent_timeout, "parent_timeout", 504, "Parent Proxy Timeout",
              "http_response_timeout", 0, "the parent proxy did not answer in time, or its 504"},
    ReasonRow{parent_bad_answer, "parent_bad_answer", 502, "Malformed Answer From Parent Proxy",
              "http_protocol_error", 0,
              "the parent proxy's answer breaks the rules of HTTP or did not come"},
    ReasonRow{client_gone, "client_gone", 499, "Client Gone", "", 0,
              "the client left before there was an answer"},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::size_t>(rows[i].reason) != i) return false;
  return rows.size() == static_cast<std::size_t>(last_reason) + 1;
}
static_assert(in_order(), "one row for each Reason, in the order of the enumerators");

// Details are for humans; what a hostile name can put into them is bounded.
constexpr std::size_t max_detail = 300;

// sf-string (RFC 9651 section 3.3.3): printable ASCII, '"' and '\' escaped.
void append_sf_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text.substr(0, max_detail)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c >= 0x20 && c < 0x7f ? c : '?';
  }
  out += '"';
}

// Text on a line of its own: no byte that could end the line or the head, or drive a terminal.
void append_line_text(std::string& out, std::string_view text) {
  for (const char c : text.substr(0, max_detail))
    out += c >= 0x20 && c < 0x7f ? c : '?';
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  append_line_text(out, value);
  out += "\r\n";
}

// `reason` is a parameter of our own beside the registered ones (RFC 9209 section 2.1 lets clients
// ignore what they do not know): the word of the log, the metric and the document.
std::string proxy_status(const ReasonRow& row, std::string_view next_hop, std::string_view detail,
                         int received_status = 0) {
  std::string out = "oceanid";
  if (!row.proxy_error.empty()) out += fmt::format("; error={}", row.proxy_error);
  if (received_status > 0) out += fmt::format("; received-status={}", received_status);
  if (!next_hop.empty()) {
    out += "; next-hop=";
    append_sf_string(out, next_hop);
  }
  if (!detail.empty()) {
    out += "; details=";
    append_sf_string(out, detail);
  }
  if (row.reason != Reason::ok) out += fmt::format("; reason={}", row.token);
  return out;
}

std::string json_body(const Answer& answer, const ReasonRow& row, std::string_view detail) {
  std::string out = fmt::format("{{\"status\":{},\"reason\":", row.status);
  append_json_string(out, row.token);
  const auto member = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    out += fmt::format(",\"{}\":", name);
    append_json_string(out, value);
  };
  member("detail", detail);
  member("next_hop", answer.next_hop);
  member("node", answer.node);
  member("request_id", answer.request_id);
  out += "}\n";
  return out;
}

std::string text_body(const Answer& answer, const ReasonRow& row, std::string_view detail) {
  std::string out = fmt::format("{} {}: ", row.status, row.phrase);
  append_line_text(out, detail);
  out += fmt::format("\n(reason {}", row.token);
  const auto part = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    out += fmt::format(", {} ", name);
    append_line_text(out, value);
  };
  part("request", answer.request_id);
  part("gateway", answer.node);
  out += ")\n";
  return out;
}

}  // namespace

std::span<const ReasonRow> reason_table() {
  return rows;
}
const ReasonRow& row_of(Reason reason) {
  return rows[static_cast<std::size_t>(reason)];
}
std::string_view to_string(Reason reason) {
  return row_of(reason).token;
}
int status_of(Reason reason) {
  return row_of(reason).status;
}

bool is_denial(Reason reason) {
  switch (reason) {
    case Reason::client_not_allowed:
    case Reason::port_not_allowed:
    case Reason::policy_denied:
    case Reason::destination_prohibited:
    case Reason::auth_failed:
    case Reason::auth_limit:
      return true;
    default:
      return false;
  }
}

bool leaves_connection(Reason reason) {
  switch (reason) {
    case Reason::bad_request:
    case Reason::bad_target:  // perhaps meant as CONNECT (RFC 9931)
    case Reason::bad_host:
    case Reason::target_too_long:
    case Reason::head_too_large:
    case Reason::head_timeout:
    case Reason::version_not_supported:
    case Reason::method_not_supported:
    case Reason::coding_not_supported:
    case Reason::client_not_allowed:
    case Reason::overloaded:
    case Reason::shutting_down:
    case Reason::internal_error:
    case Reason::handshake_failed:
    case Reason::client_gone:
      return false;
    default:
      return true;
  }
}

Reason reason_of(HeadError error) {
  switch (status_of(error)) {
    case 200:
      return Reason::ok;
    case 414:
      return Reason::target_too_long;
    case 431:
      return Reason::head_too_large;
    case 501:
      return error == HeadError::method_too_long ? Reason::method_not_supported
                                                 : Reason::coding_not_supported;
    case 505:
      return Reason::version_not_supported;
    default:
      return Reason::bad_request;
  }
}

std::string render_answer(const Answer& answer) {
  const ReasonRow& row = row_of(answer.reason);
  const std::string_view detail =
      std::string_view(answer.detail.empty() ? row.meaning : answer.detail).substr(0, max_detail);
  const std::string body =
      answer.json ? json_body(answer, row, detail) : text_body(answer, row, detail);
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", row.status, row.phrase);
  out += fmt::format("Proxy-Status: {}\r\n",
                     proxy_status(row, answer.next_hop, detail, answer.received_status));
  // RFC 9110 section 11.7.1: a 407 says how to authenticate.
  if (row.status == 407)
    out += "Proxy-Authenticate: Basic realm=\"oceanid\", charset=\"UTF-8\"\r\n";
  const int retry_after = answer.retry_after > 0 ? answer.retry_after : row.retry_after;
  if (retry_after > 0) out += fmt::format("Retry-After: {}\r\n", retry_after);
  if (!answer.request_id.empty()) append_field(out, "X-Request-Id", answer.request_id);
  append_field(out, "Content-Type", answer.json ? "application/json" : "text/plain; charset=utf-8");
  out += fmt::format("Content-Length: {}\r\nConnection: {}\r\n\r\n", body.size(),
                     answer.keep_alive ? "keep-alive" : "close");
  out += body;
  return out;
}

std::string render_connected(std::string_view next_hop, std::string_view request_id) {
  const ReasonRow& row = row_of(Reason::ok);
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nProxy-Status: {}\r\n", row.status, row.phrase,
                                proxy_status(row, next_hop, ""));
  if (!request_id.empty()) append_field(out, "X-Request-Id", request_id);
  out += "\r\n";
  return out;
}

bool wants_json(const RequestHead& head) {
  const std::string* accept = head.find("accept");
  return accept != nullptr && (accept->find("application/json") != std::string::npos ||
                               accept->find("application/problem+json") != std::string::npos);
}

}  // namespace oceanid::proxy
