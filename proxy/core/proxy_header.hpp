#pragma once
// The PROXY protocol (haproxy.org/download/2.9/doc/proxy-protocol.txt), versions 1 and 2: a header
// in front of a connection's own bytes that says whose connection it is. Strict: what is not
// exactly a header is refused, since the sender is a trusted balancer and a sloppy one would let
// clients choose their address. Pure.

#include "gateway/base/net_types.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::proxy {

struct ProxyHeader {
  SocketAddress source;
  SocketAddress destination;
  bool operator==(const ProxyHeader&) const = default;
};

struct ProxyHeaderRead {
  enum class State : std::uint8_t { need_more, done, failed };
  State state = State::need_more;
  std::size_t size = 0;               // of the header, when done
  std::optional<ProxyHeader> header;  // none when done: LOCAL or UNKNOWN, the socket's own count
  std::string_view problem;           // one sentence, when failed
};

// No header is longer: what does not fit is refused (the protocol allows 65,551 bytes; real ones
// with all TLVs of a TLS connection stay under 1 KiB).
inline constexpr std::size_t max_proxy_header = 4096;

// `bytes`: all that has come so far, from the first byte on. With more bytes behind them the answer
// for the same header is the same.
ProxyHeaderRead read_proxy_header(std::string_view bytes);

// Version 2, with a CRC32c TLV. Addresses of two families are both written as IPv6 (mapped).
std::string write_proxy_header(const ProxyHeader& header);
// "Mind the connection, not a client": what health checks send.
std::string write_local_proxy_header();

// CRC-32C (RFC 3720 appendix B.4).
std::uint32_t crc32c(std::string_view bytes);

}  // namespace oceanid::proxy
