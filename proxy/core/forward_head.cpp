#include "proxy/core/forward_head.hpp"

#include "proxy/core/http_fields.hpp"
#include "proxy/core/target.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

constexpr std::uint16_t http_port = 80;

bool starts_without_case(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && equal_without_case(text.substr(0, start.size()), start);
}

// RFC 9110 section 7.6.1: fields for this connection alone, whether Connection names them or not.
bool is_hop_by_hop(std::string_view name, const std::vector<std::string_view>& named) {
  constexpr std::array<std::string_view, 6> always = {"connection", "keep-alive",        "te",
                                                      "trailer",    "transfer-encoding", "upgrade"};
  const auto same = [&](std::string_view other) { return equal_without_case(name, other); };
  return std::ranges::any_of(always, same) || std::ranges::any_of(named, same) ||
         starts_without_case(name, "proxy-");
}

// A field that Connection names is hop-by-hop, but nobody may take these away from the message.
std::vector<std::string_view> named_by_connection(std::span<const Field> fields) {
  constexpr std::array<std::string_view, 6> kept = {"host", "content-length", "cache-control",
                                                    "via",  "authorization",  "cookie"};
  auto named = list_members(values_of(fields, "connection"));
  std::erase_if(named, [&](std::string_view name) {
    return std::ranges::any_of(kept, [&](auto k) { return equal_without_case(name, k); });
  });
  return named;
}

void append(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

void append_end_to_end(std::string& out, std::span<const Field> fields,
                       std::initializer_list<std::string_view> ours) {
  const auto named = named_by_connection(fields);
  for (const Field& field : fields) {
    if (is_hop_by_hop(field.name, named)) continue;
    if (std::ranges::any_of(ours, [&](auto name) { return equal_without_case(field.name, name); }))
      continue;
    append(out, field.name, field.value);
  }
}

void append_framing(std::string& out, Framing framing, bool says_none) {
  switch (framing.content) {
    case Content::chunked:
      append(out, "Transfer-Encoding", "chunked");
      break;
    case Content::length:
      append(out, "Content-Length", fmt::format("{}", framing.length));
      break;
    case Content::none:
      if (says_none) append(out, "Content-Length", "0");
      break;
    case Content::until_close:
      break;
  }
}

void append_connection(std::string& out, const ForwardedHead& how) {
  if (!how.upgrade.empty()) {
    append(out, "Upgrade", how.upgrade);
    append(out, "Connection", "upgrade");
  } else {
    append(out, "Connection", how.keep_alive ? "keep-alive" : "close");
  }
}

std::string_view version_of(HttpVersion version) {
  return version == HttpVersion::http11 ? "1.1" : "1.0";
}

bool has_port(std::string_view authority) {
  const auto bracket = authority.find(']');  // of an IPv6 literal, whose colons are its own
  return authority.find(':', bracket == std::string_view::npos ? 0 : bracket) !=
         std::string_view::npos;
}

}  // namespace

Result<AbsoluteTarget> parse_absolute(std::string_view target, std::string_view method) {
  constexpr std::string_view scheme = "http://";
  if (starts_without_case(target, "https://") || starts_without_case(target, "wss://"))
    return fail(Errc::unsupported, "https:// goes through CONNECT, not in a plain request");
  if (!starts_without_case(target, scheme)) {
    if (target.find("://") != std::string_view::npos)
      return fail(Errc::unsupported, "only http:// is forwarded");
    return fail(Errc::protocol, "a request to a proxy names its target with http://HOST/…");
  }
  target.remove_prefix(scheme.size());
  const auto authority_end = target.find_first_of("/?#");
  const std::string_view authority = target.substr(0, authority_end);
  std::string_view rest =
      authority_end == std::string_view::npos ? std::string_view() : target.substr(authority_end);
  if (authority.find('@') != std::string_view::npos)
    return fail(Errc::protocol, "a user name in the target is not allowed");
  if (rest.find('#') != std::string_view::npos)
    return fail(Errc::protocol, "a fragment in the target is not allowed");
  AbsoluteTarget out;
  auto parsed = parse_authority(has_port(authority) ? std::string(authority)
                                                    : fmt::format("{}:{}", authority, http_port));
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  out.destination = std::move(*parsed);
  const bool v6 = out.destination.host.find(':') != std::string::npos;
  out.host_field = v6 ? fmt::format("[{}]", out.destination.host) : out.destination.host;
  if (out.destination.port != http_port) out.host_field += fmt::format(":{}", out.destination.port);
  if (rest.empty() && method == "OPTIONS")
    out.origin_form = "*";  // RFC 9112 section 3.2.4
  else
    out.origin_form = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  return out;
}

std::string render_request(const RequestHead& head, const AbsoluteTarget& target, Framing framing,
                           const ForwardedHead& how) {
  std::string out = fmt::format("{} {} HTTP/1.1\r\n", head.method, target.origin_form);
  append(out, "Host", target.host_field);
  append_end_to_end(out, head.fields, {"host", "content-length", "max-forwards"});
  if (const auto left = max_forwards(head))
    append(out, "Max-Forwards", fmt::format("{}", *left > 0 ? *left - 1 : 0));
  append(out, "Via", fmt::format("{} {}", version_of(head.version), how.pseudonym));
  // A length of zero that the client gave stays: some servers want one with POST (411).
  append_framing(out, framing, !values_of(head.fields, "content-length").empty());
  append_connection(out, how);
  return out + "\r\n";
}

std::string render_response(const ResponseHead& head, Framing framing, const ForwardedHead& how) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", head.status, head.reason);
  // Without content to frame, the origin's word about its length is information (HEAD, 304), but
  // it has none to give with 1xx and 204 (RFC 9110 section 8.6).
  const bool told = framing.content == Content::none && head.status >= 200 && head.status != 204;
  if (told)
    append_end_to_end(out, head.fields, {});
  else
    append_end_to_end(out, head.fields, {"content-length"});
  append(out, "Via", fmt::format("{} {}", version_of(head.version), how.pseudonym));
  append_framing(out, framing, false);
  append_connection(out, how);
  return out + "\r\n";
}

std::optional<std::uint64_t> max_forwards(const RequestHead& head) {
  if (head.method != "TRACE" && head.method != "OPTIONS") return std::nullopt;
  const auto values = values_of(head.fields, "max-forwards");
  return values.size() == 1 ? parse_content_length(values.front()) : std::nullopt;
}

bool is_for_us(const RequestHead& head) {
  return (head.method == "OPTIONS" && head.target == "*") || max_forwards(head) == 0U;
}

std::string render_own_answer(const RequestHead& head, bool keep_alive) {
  std::string out = "HTTP/1.1 200 OK\r\n";
  std::string body;
  if (head.method == "TRACE") {
    body = fmt::format("TRACE {} HTTP/{}\r\n", head.target, version_of(head.version));
    for (const Field& field : head.fields)
      if (!equal_without_case(field.name, "authorization") &&
          !equal_without_case(field.name, "cookie") && !starts_without_case(field.name, "proxy-"))
        append(body, field.name, field.value);
    body += "\r\n";
    append(out, "Content-Type", "message/http");
  } else {
    append(out, "Allow", "CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE");
  }
  append(out, "Content-Length", fmt::format("{}", body.size()));
  append(out, "Connection", keep_alive ? "keep-alive" : "close");
  return out + "\r\n" + body;
}

bool is_loop(const RequestHead& head, std::string_view pseudonym) {
  return std::ranges::any_of(list_members(values_of(head.fields, "via")),
                             [&](std::string_view hop) {
                               const auto space = hop.find(' ');
                               if (space == std::string_view::npos) return false;
                               const std::string_view by = hop.substr(space + 1);
                               return by.substr(0, by.find(' ')) == pseudonym;
                             });
}

std::string wanted_upgrade(const RequestHead& head) {
  if (head.version == HttpVersion::http10 || !list_has(head.fields, "connection", "upgrade"))
    return {};
  std::string out;
  for (const std::string_view protocol : list_members(values_of(head.fields, "upgrade"))) {
    // HTTP/2 in the clear is another protocol for us too (RFC 9113 section 3.1 has withdrawn it).
    if (protocol.empty() || equal_without_case(protocol, "h2c")) continue;
    if (!out.empty()) out += ", ";
    out += protocol;
  }
  return out;
}

std::string agreed_upgrade(const ResponseHead& head, std::string_view wanted) {
  const auto offered = list_members({wanted});
  std::string out;
  for (const std::string_view protocol : list_members(values_of(head.fields, "upgrade"))) {
    const auto same = [&](std::string_view other) { return equal_without_case(protocol, other); };
    if (protocol.empty() || std::ranges::none_of(offered, same)) return {};
    if (!out.empty()) out += ", ";
    out += protocol;
  }
  return out;
}

bool expects_continue(const RequestHead& head) {
  return list_has(head.fields, "expect", "100-continue");
}

}  // namespace oceanid::proxy
