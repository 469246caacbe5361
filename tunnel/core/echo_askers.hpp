#pragma once
// Who asks us for echoes, and whom we have ceased to hear: a peer whose requests stop coming while
// it was asking regularly is told so for a while ("I do not hear you"), so that it can tell a way
// out that is broken from a way back that is. One small entry for each known peer; time as an
// argument.

#include "gateway/base/net_types.hpp"
#include "tunnel/core/health_window.hpp"

#include <map>
#include <optional>
#include <vector>

namespace oceanid::tunnel {

class EchoAskers {
 public:
  // `hears_us`: the peer's word that our answers arrive.
  void heard(const SocketAddress& from, int socket, bool hears_us, TimePoint now);
  void forget_socket(int socket);

  struct Silent {
    SocketAddress to;
    int socket;
  };
  // Whom to tell now; call twice a second.
  std::vector<Silent> silent(TimePoint now) const;
  // Since it last asked; none: it never did. It is lost when its regular requests stay away.
  struct Heard {
    Duration silence{0};
    bool lost = false;
  };
  std::optional<Heard> last_heard(const IpAddress& peer, TimePoint now) const;
  // Whether the peer hears our answers; none: it does not ask (any more).
  std::optional<bool> hears_us(const IpAddress& peer, TimePoint now) const;

 private:
  struct Asker {
    SocketAddress from;
    int socket = -1;
    TimePoint last{};
    Duration interval{0};  // between requests, smoothed
    bool hears_us = false;
  };
  static bool lost(const Asker& asker, TimePoint now);
  std::map<IpAddress, Asker> askers_;
};

}  // namespace oceanid::tunnel
