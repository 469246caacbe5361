#pragma once
// What ties a client's TLS connection to the tunnel behind it. The session sees one end of a local
// socket pair, which carries bytes and their end but no reset; this carries that.

#include <map>
#include <memory>
#include <utility>

namespace oceanid::proxy {

class Relay;

struct ClientWire {
  Relay* relay = nullptr;  // while the tunnel lives
  bool reset = false;      // how it ended
};

// By the session's descriptor. One event loop's.
class ClientWires {
 public:
  void add(int fd, std::shared_ptr<ClientWire> wire) { wires_[fd] = std::move(wire); }
  void remove(int fd, const std::shared_ptr<ClientWire>& wire) {
    const auto found = wires_.find(fd);
    if (found != wires_.end() && found->second == wire) wires_.erase(found);
  }
  // Null: not behind TLS. An entry may be older than its descriptor, hence a look at the socket.
  std::shared_ptr<ClientWire> find(int fd) const;

 private:
  std::map<int, std::shared_ptr<ClientWire>> wires_;
};

}  // namespace oceanid::proxy
