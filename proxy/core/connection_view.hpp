#pragma once
// A live tunnel as `oceanid connections` shows it, and which of them are asked for. Values only.

#include "gateway/base/net_types.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace oceanid::proxy {

struct ConnectionView {
  std::string id;      // the request's, as in the access record
  std::string source;  // ADDRESS:PORT
  std::string role;
  std::string method;   // CONNECT, SOCKS5, "forward"
  std::string forward;  // its name; empty: none
  std::string host;
  std::uint16_t port = 0;
  std::string address;  // dialled
  std::string exit;
  std::string rule;  // what let it in; in a list of forbidden ones, what forbids it now
  double age_seconds = 0;
  double idle_seconds = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};

// Empty members match everything.
struct ConnectionFilter {
  std::vector<Prefix> sources;
  std::string host;  // exact, or *.suffix
  std::string role;
  std::string exit;
  std::string forward;
  std::uint32_t limit = 1000;  // how many to list; all that match are counted

  bool matches(const ConnectionView& connection) const;
};

struct ConnectionList {
  std::uint64_t open = 0;      // tunnels in all
  std::uint64_t matching = 0;  // of them, by the filter
  std::vector<ConnectionView> connections;
};

}  // namespace oceanid::proxy
