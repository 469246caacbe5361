#pragma once
// A node for the namespace tests: a forked process in a network and mount namespace of its own that
// runs one TunnelManager, does the routing side's part with `ip`, and answers commands of the test
// over a socket pair. The namespaces outlive the process, so that killing and starting it again is
// a restart of netd on the same machine. Needs root and /dev/net/tun.

#include "gateway/base/runtime/unique_fd.hpp"
#include "tunnel/core/settings.hpp"
#include "tunnel/edge/manager.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace oceanid::tunnel::testing {

// Why namespaces cannot be used here; none: they can.
std::optional<std::string> why_not_here();
bool kernel_has_wireguard();  // asked in a namespace of its own

struct DeviceView {
  bool present = false;
  std::string echo;
  bool usable = false;
  std::uint64_t sent = 0;
  std::uint64_t answered = 0;
  long long handshake_age = -1;  // of the first peer; -1: never
  std::uint64_t rx_bytes = 0;
  unsigned mtu = 0;
  std::string reason;
};

class Node {
 public:
  // Makes the namespaces and the first process. `folder`: an existing folder for state_dir.
  Node(std::string folder, TunnelManager::Wanted wanted);
  ~Node();  // ends every process that is still in the namespaces
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void start();                                // a process of the manager (again)
  void kill_manager();                         // SIGKILL, as a crash
  std::string command(std::string_view line);  // its answer; "" when the process is gone
  std::map<std::string, DeviceView> status();

  pid_t pid() const { return pid_; }
  int network_namespace() const { return network_.get(); }
  std::optional<pid_t> daemon(const std::string& device) const;  // from the pid file
  std::vector<pid_t> processes() const;  // all in the network namespace except the manager's
  int run(const std::string& shell_command) const;  // inside; its exit status
  std::string file(const std::string& path) const;  // path inside, as seen from outside

  TunnelManager::Wanted wanted;  // what start() applies

 private:
  std::string folder_;
  pid_t pid_ = -1;
  pid_t keeper_ = -1;  // holds the namespaces; sleeps for ever
  UniqueFd channel_;
  UniqueFd network_;
  UniqueFd mount_;
};

// One end of a veth pair: its name in the node, and its address with the prefix length.
struct LinkEnd {
  const Node& node;
  std::string name;
  std::string address;
};
void link(const LinkEnd& first, const LinkEnd& second);

// A veth pair "link0" between two nodes: 192.0.2.1 and 2001:db8::1 are the first's, .2 and ::2 the
// second's.
void connect(const Node& first, const Node& second);

}  // namespace oceanid::tunnel::testing
