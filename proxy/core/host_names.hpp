#pragma once
// The host's own word on names: /etc/hosts, and from /etc/resolv.conf the servers, the search list
// and the options, as the C library reads them (resolv.conf(5), hosts(5)). Pure: text in, values
// out; what cannot be read in a line is skipped, as there.

#include "gateway/base/net_types.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace oceanid::proxy {

struct ResolvConf {
  std::vector<SocketAddress> servers;  // at most three, those that the C library would ask
  std::vector<std::string> search;     // lower case, without trailing dots
  unsigned ndots = 1;
  std::optional<std::chrono::seconds> timeout;  // of one question, the first time
  std::optional<int> attempts;
  bool rotate = false;
  bool operator==(const ResolvConf&) const = default;
};

// `host_name`: whose domain is searched when the text names none.
ResolvConf read_resolv_conf(std::string_view text, std::string_view host_name);

// The full names that `name` may stand for, in the order to ask. A name with `ndots` dots is meant
// as it is before it is searched for; with a trailing dot it is never searched for. A Kubernetes
// pod has ndots:5: there "db.prod" is searched for first.
std::vector<std::string> search_candidates(std::string_view name, const ResolvConf& conf);

class HostsFile {
 public:
  static HostsFile read(std::string_view text);
  // Every address of the name, IPv6 first; empty when it is not there. "localhost" and names below
  // it are loopback even if the file does not say so (RFC 6761 section 6.3).
  std::vector<IpAddress> find(std::string_view name) const;

 private:
  std::unordered_map<std::string, std::vector<IpAddress>> names_;
};

}  // namespace oceanid::proxy
