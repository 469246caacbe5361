#pragma once
// What would happen to a request, and why: `oceanid explain`. Values only; the texts are those of
// the access record and of the answer.

#include <cstdint>
#include <string>
#include <vector>

namespace oceanid::proxy {

struct ExplainQuery {
  std::string destination;  // HOST:PORT
  std::string from;         // the client's address; empty: 127.0.0.1
  std::string user;
  std::vector<std::string> certificates;
};

struct ExplainedAddress {
  std::string address;
  bool allowed = false;  // by policy and guard
  bool usable = true;    // the exit has this family
  std::string rule;      // what decided
};

struct Explanation {
  std::string host;
  std::uint16_t port = 0;
  std::string from;
  std::string user;
  std::string role;
  std::string rule;
  std::string verdict;  // allow | deny | report
  std::string reason;   // Reason token, "ok" when allowed
  int status = 0;       // of the answer
  std::string exit;     // empty: the host's own routes
  std::string device;
  std::string parent;  // HOST:PORT of the proxy that it goes through; empty: direct
  unsigned mtu = 0;    // of the device, else of the route; 0: unknown
  std::vector<ExplainedAddress> addresses;
  std::string sentence;  // the whole in one line
  // How TCP of a routed pod that asks nobody would leave; empty: `from` is none of this node's.
  std::string routed;
};

}  // namespace oceanid::proxy
