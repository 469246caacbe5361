#pragma once
// A name server on 127.0.0.1 (UDP) that answers from a script, on a thread of its own.

#include "tests/unit/proxy/edge_support.hpp"

#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace oceanid::proxy::test {

struct NameEntry {
  std::vector<std::string> a = {};
  std::vector<std::string> aaaa = {};
  std::uint32_t ttl = 60;
  bool exists = true;     // false: NXDOMAIN
  bool silent_a = false;  // never answers A queries
  bool silent_aaaa = false;
};

class NameServer {
 public:
  explicit NameServer(std::map<std::string, NameEntry> names);
  ~NameServer();
  SocketAddress address() const { return address_; }
  void set(const std::string& name, NameEntry entry);
  int queries(const std::string& name) const;  // A queries only

 private:
  void serve();
  std::string answer(const std::string& query);

  mutable std::mutex mutex_;
  std::map<std::string, NameEntry> names_;
  std::map<std::string, int> queries_;
  UniqueFd fd_;
  SocketAddress address_;
  std::thread thread_;
};

}  // namespace oceanid::proxy::test
