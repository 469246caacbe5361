#pragma once
// Which exit a new connection leaves by. Once exits are configured nothing is ever sent unbound: no
// usable exit means no connection.

#include "gateway/base/exit.hpp"

#include <optional>
#include <string>
#include <vector>

namespace oceanid::proxy {

struct ExitChoice {
  std::string name;    // empty: no exits are configured, the host's own routes decide
  std::string device;  // what sockets are bound to; empty likewise
  bool ipv4 = true;
  bool ipv6 = true;
  bool operator==(const ExitChoice&) const = default;
};

// The pinned exit, else the selected one; none when it is not usable or has no device yet.
std::optional<ExitChoice> choose_exit(const ExitTable* table, bool configured,
                                      const std::optional<std::string>& pin);

// The most preferred usable exit whose name is not among `tried`; none when no exits are
// configured.
std::optional<ExitChoice> another_exit(const ExitTable* table,
                                       const std::vector<std::string>& tried);

// Whether sockets bound for that choice still have a chance.
bool still_usable(const ExitTable* table, const ExitChoice& choice);

}  // namespace oceanid::proxy
