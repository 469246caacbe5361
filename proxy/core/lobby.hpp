#pragma once
// Connections that have not been let in yet: their request head, handshake or greeting is still
// under way, or they idle between two requests. They cost a descriptor and what they have sent so
// far, and strangers decide how many there are, so their number and their bytes are bounded. When
// one of the bounds is reached, the client that holds most makes room, its oldest connection first:
// a crowd from one address cannot lock out the others.
//
// Pure bookkeeping; one event loop owns it. `leave_now` is called from inside enter() or grow(), at
// most once for each seat, and must not destroy the seat there and then.

#include "gateway/base/net_types.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <set>
#include <utility>

namespace oceanid::proxy {

struct LobbyLimits {
  std::size_t connections = 4096;
  std::size_t bytes = std::size_t{32} << 20;  // request heads in the making
  bool operator==(const LobbyLimits&) const = default;
};

class Lobby {
  struct Entry {
    std::function<void()> leave_now;
    std::size_t bytes = 0;
    bool evicted = false;
  };
  using Entries = std::list<Entry>;

 public:
  explicit Lobby(LobbyLimits limits = {}) : limits_(limits) {}
  Lobby(const Lobby&) = delete;
  Lobby& operator=(const Lobby&) = delete;

  // A place in the lobby, given back by its destructor; must not outlive the lobby.
  class Seat {
   public:
    Seat() = default;
    Seat(Seat&& other) noexcept { *this = std::move(other); }
    Seat& operator=(Seat&& other) noexcept;
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    ~Seat() { leave(); }

    void grow(std::size_t bytes);  // so much more is kept for this connection
    bool evicted() const { return lobby_ != nullptr && entry_->evicted; }
    void leave();

   private:
    friend class Lobby;
    Lobby* lobby_ = nullptr;
    IpAddress client_;
    Entries::iterator entry_;
  };

  Seat enter(const IpAddress& client, std::function<void()> leave_now);
  void set_limits(LobbyLimits limits) { limits_ = limits; }

  std::size_t connections() const { return connections_; }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t evictions() const { return evictions_; }

 private:
  struct Client {
    Entries waiting;  // the oldest first
    Entries evicted;  // told to leave, seats not yet given back
    std::size_t weight = 0;
  };
  void add_weight(const IpAddress& address, Client& client, std::size_t weight);
  void take_weight(const IpAddress& address, Client& client, std::size_t weight);
  void make_room();
  void leave(const IpAddress& address, Entries::iterator entry);

  LobbyLimits limits_;
  std::map<IpAddress, Client> clients_;
  std::set<std::pair<std::size_t, IpAddress>> by_weight_;  // clients that hold something
  std::size_t connections_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t evictions_ = 0;
};

}  // namespace oceanid::proxy
