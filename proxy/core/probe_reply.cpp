#include "proxy/core/probe_reply.hpp"

#include "proxy/core/response_head.hpp"

#include <fmt/format.h>

namespace oceanid::proxy {

std::optional<ProbeReply> parse_probe_reply(std::string_view text) {
  ResponseParser parser({.bytes = longest_probe_reply});
  if (parser.feed(text) != ResponseParser::State::done) return std::nullopt;
  ProbeReply out;
  out.status = static_cast<unsigned>(parser.take_head().status);
  std::string_view body = text.substr(parser.consumed_of_last_feed());
  constexpr std::string_view blank = " \t\r\n\"";
  const auto begin = body.find_first_not_of(blank);
  if (begin == std::string_view::npos) return out;
  body.remove_prefix(begin);
  body = body.substr(0, body.find_first_of(blank));
  if (const auto address = IpAddress::parse(body)) out.address = *address;
  return out;
}

std::optional<ProbeUrl> parse_probe_url(std::string_view url) {
  ProbeUrl out;
  out.tls = url.starts_with("https://");
  if (!out.tls && !url.starts_with("http://")) return std::nullopt;
  url.remove_prefix(out.tls ? 8 : 7);
  const auto end = url.find_first_of("/?#");
  std::string_view authority = url.substr(0, end);
  if (const auto at = authority.rfind('@'); at != std::string_view::npos)
    authority.remove_prefix(at + 1);
  if (const auto with_port = HostPort::parse(authority))
    out.authority = *with_port;
  else
    out.authority = {std::string(authority), static_cast<std::uint16_t>(out.tls ? 443 : 80)};
  if (out.authority.host.empty()) return std::nullopt;
  if (end != std::string_view::npos) out.path = std::string(url.substr(end));
  out.path = out.path.substr(0, out.path.find('#'));
  if (!out.path.starts_with('/')) out.path.insert(0, "/");
  return out;
}

std::string probe_request(const ProbeUrl& url) {
  const bool usual = url.authority.port == (url.tls ? 443 : 80);
  const std::string host = usual ? url.authority.host : url.authority.to_string();
  return fmt::format(
      "GET {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: oceanid\r\nAccept: */*\r\n"
      "Connection: close\r\n\r\n",
      url.path, host);
}

}  // namespace oceanid::proxy
