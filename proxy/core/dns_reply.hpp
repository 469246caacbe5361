#pragma once
// A DNS reply (RFC 1035 section 4) to a question for the addresses of one name: only what a stub
// resolver needs. c-ares carries questions and replies and has matched the reply's id and question;
// it hides the SOA record that says how long "there is none" holds, hence this reader.
//
// Pure and total: any bytes are either read or refused.

#include "gateway/base/net_types.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

// Of one family. Every one is kept for the dialler, whose own deadline and limit of open attempts
// bound what is tried; this bounds memory against a reply that fills 64 KiB with four thousand.
inline constexpr std::size_t most_addresses = 64;

struct DnsReply {
  enum class Outcome : std::uint8_t {
    addresses,
    no_data,  // the name exists, it has no address of this family
    no_name,  // NXDOMAIN
  };
  Outcome outcome = Outcome::no_data;
  std::vector<IpAddress> addresses;  // without repetition, in the server's order
  // With addresses: the least along the chain of aliases. Without: min(TTL, MINIMUM) of the
  // authority's SOA record (RFC 2308 section 5); none when the server sent no such record.
  std::optional<std::chrono::seconds> ttl;
  bool operator==(const DnsReply&) const = default;
};

// `name` without trailing dot, in any case. None: not a reply to this question, cut short,
// or another return code than NOERROR and NXDOMAIN.
std::optional<DnsReply> read_dns_reply(std::string_view message, std::string_view name,
                                       Family family);

}  // namespace oceanid::proxy
