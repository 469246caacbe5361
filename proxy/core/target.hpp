#pragma once
// What a client may name as a destination. Everything that decides (policy, guard, log) and
// everything that dials sees the one canonical form made here, so no second reading of the same
// text exists.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace oceanid::proxy {

// CONNECT's authority-form (RFC 9110 section 9.3.6): HOST:PORT and nothing else. As host it gives
//   - an address literal in canonical text without brackets (IPv4-mapped IPv6 becomes IPv4; the old
//     spellings of IPv4 that inet_aton reads, 127.1 or 0x7f000001, become dotted decimals), or
//   - a lower-case name without its trailing dot; labels of letters, digits, '-' and '_', of 63
//     bytes, 253 in all; international names become Punycode (UTS #46, non-transitional; in an
//     authority they must be that already).
// Errors: Errc::protocol with one sentence that never repeats the client's text.
Result<HostPort> parse_authority(std::string_view authority);

// Whether that host is a name with the root's dot behind it, which its canonical form drops.
bool is_absolute_name(std::string_view host);

// The host part alone, same canonical form; IPv6 in brackets. Also what SOCKS5 and SNI names go
// through.
Result<std::string> canonical_host(std::string_view host);

// IPv4 as inet_aton reads it: one to four parts, decimal, octal (0...) or hexadecimal (0x...), the
// last part filling what is left. None for anything else, overflow included.
std::optional<IpAddress> parse_loose_v4(std::string_view text);

// Whether a Host field is HOST or HOST:PORT. On CONNECT the request target alone counts and the
// Host field is only checked for its form: clients leave the port out (Java, Python) or name the
// proxy itself there (undici's ProxyAgent before 5.23). An empty Host names nothing and is valid.
bool is_host_field(std::string_view host_field);

}  // namespace oceanid::proxy
