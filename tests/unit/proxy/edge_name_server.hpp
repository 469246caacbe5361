#pragma once
// A name server on 127.0.0.1 (UDP and TCP) that answers from a script, on a thread of its own.

#include "tests/unit/proxy/edge_support.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::proxy::test {

struct NameEntry {
  std::vector<std::string> a = {};
  std::vector<std::string> aaaa = {};
  std::uint32_t ttl = 60;
  bool exists = true;     // false: NXDOMAIN
  bool silent_a = false;  // never answers A queries
  bool silent_aaaa = false;
  bool held_aaaa = false;                                    // answered at release()
  std::optional<std::uint32_t> soa_minimum = {};             // in the authority section
  std::vector<std::pair<std::string, unsigned>> chain = {};  // aliases on the way, with their TTLs
  bool fails = false;                                        // SERVFAIL
  bool truncated = false;                                    // the whole answer only over TCP
  bool forged = false;  // before the answer, others with a wrong id and a foreign question
};

class NameServer {
 public:
  explicit NameServer(std::map<std::string, NameEntry> names);
  ~NameServer();
  SocketAddress address() const { return address_; }
  void set(const std::string& name, NameEntry entry);
  void silence(bool silent) { silent_ = silent; }  // as if the machine were gone
  void release();
  int queries(const std::string& name) const;  // A queries only
  int over_tcp() const { return over_tcp_; }

 private:
  void serve();
  void serve_udp();
  void serve_tcp();
  // The reply, and what a forger sends first.
  std::vector<std::string> answer(const std::string& query, bool tcp, const NativeAddress& from);
  void send(const std::string& reply, const NativeAddress& to);

  mutable std::mutex mutex_;
  std::map<std::string, NameEntry> names_;
  std::map<std::string, int> queries_;
  std::vector<std::pair<std::string, NativeAddress>> held_;
  std::atomic<bool> silent_ = false;
  std::atomic<int> over_tcp_ = 0;
  SocketAddress address_;
  UniqueFd udp_;
  UniqueFd tcp_;
  UniqueFd ended_;  // an eventfd
  std::thread thread_;
};

}  // namespace oceanid::proxy::test
