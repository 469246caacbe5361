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

// The first of the pinned exits, else the selected one; none when it is not usable or has no device
// yet. A pinned one that has failed lately waits behind the others of the pin.
std::optional<ExitChoice> choose_exit(const ExitTable* table, bool configured, const ExitPin& pin);

// The most preferred usable exit (of the pinned ones) whose name is not among `tried`; none when no
// exits are configured.
std::optional<ExitChoice> another_exit(const ExitTable* table, const ExitPin& pin,
                                       const std::vector<std::string>& tried);

bool may_use(const ExitPin& pin, const std::string& exit);

// For whoever is refused: "no exit is usable", "exit tethys is not usable".
std::string none_usable(const ExitPin& pin);

// Whether sockets bound for that choice still have a chance.
bool still_usable(const ExitTable* table, const ExitChoice& choice);

}  // namespace oceanid::proxy
