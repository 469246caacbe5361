#pragma once
// What a worker's event loops are told: everything that a reload or a change of exits replaces as
// one immutable value.

#include "gateway/base/exit.hpp"
#include "proxy/core/budget.hpp"
#include "proxy/core/guard.hpp"
#include "proxy/core/settings.hpp"
#include "proxy/edge/authenticator.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace oceanid::proxy {

// A listening TCP socket; adopt() takes the descriptor over.
struct ListenSocket {
  std::string key;  // names it for close_listeners()
  int fd = -1;
  std::variant<ListenerSettings, ForwardSettings> what;
};

// Contents of the files that the configuration names and only root can read (certificates, keys,
// password files), by configured path.
using Secrets = std::map<std::string, std::string>;

struct Runtime {
  std::shared_ptr<const ProxySettings> proxy;
  std::vector<ForwardSettings> forwards;
  std::shared_ptr<const ExitTable> exits;            // may be null while nothing is known
  bool exits_configured = false;                     // true: nothing leaves unbound
  std::vector<NamedPrefix> own_ranges;               // for the guard
  std::shared_ptr<const Secrets> secrets;            // may be null: there are none
  Budget budget;                                     // what the process can carry
  std::shared_ptr<Authenticator> users;              // null: nobody needs a password
  std::chrono::milliseconds probe_interval{10'000};  // of the forwards' targets
  std::string node;
  bool access_log = true;
  bool json = true;  // format of access records
};

// Our name in Via fields (RFC 9110 section 7.6.3).
inline std::string pseudonym_of(const Runtime& runtime) {
  return runtime.node + ".oceanid";
}

}  // namespace oceanid::proxy
