#include "proxy/core/lobby.hpp"

#include <iterator>

namespace oceanid::proxy {
namespace {

// What a connection costs beside its bytes: session, timer, kernel socket. Makes one measure of
// "many connections" and "many bytes".
constexpr std::size_t connection_weight = 4096;

}  // namespace

Lobby::Seat& Lobby::Seat::operator=(Seat&& other) noexcept {
  if (this == &other) return *this;
  leave();
  lobby_ = std::exchange(other.lobby_, nullptr);
  client_ = other.client_;
  entry_ = other.entry_;
  return *this;
}

void Lobby::Seat::leave() {
  if (lobby_ != nullptr) std::exchange(lobby_, nullptr)->leave(client_, entry_);
}

void Lobby::Seat::grow(std::size_t bytes) {
  if (lobby_ == nullptr || entry_->evicted) return;
  entry_->bytes += bytes;
  lobby_->bytes_ += bytes;
  lobby_->add_weight(client_, lobby_->clients_.at(client_), bytes);
  lobby_->make_room();
}

Lobby::Seat Lobby::enter(const IpAddress& address, std::function<void()> leave_now) {
  Client& client = clients_[address];
  client.waiting.push_back({std::move(leave_now), 0, false});
  Seat seat;
  seat.lobby_ = this;
  seat.client_ = address;
  seat.entry_ = std::prev(client.waiting.end());
  ++connections_;
  add_weight(address, client, connection_weight);
  make_room();
  return seat;
}

void Lobby::add_weight(const IpAddress& address, Client& client, std::size_t weight) {
  by_weight_.erase({client.weight, address});
  client.weight += weight;
  by_weight_.insert({client.weight, address});
}

void Lobby::take_weight(const IpAddress& address, Client& client, std::size_t weight) {
  by_weight_.erase({client.weight, address});
  client.weight -= weight;
  if (client.weight > 0) by_weight_.insert({client.weight, address});
}

void Lobby::make_room() {
  while (connections_ > limits_.connections || bytes_ > limits_.bytes) {
    const IpAddress heaviest = by_weight_.rbegin()->second;
    Client& client = clients_.at(heaviest);
    const auto oldest = client.waiting.begin();
    client.evicted.splice(client.evicted.end(), client.waiting, oldest);
    oldest->evicted = true;
    --connections_;
    bytes_ -= oldest->bytes;
    ++evictions_;
    take_weight(heaviest, client, connection_weight + oldest->bytes);
    const auto leave_now = std::move(oldest->leave_now);
    if (leave_now) leave_now();
  }
}

void Lobby::leave(const IpAddress& address, Entries::iterator entry) {
  const auto found = clients_.find(address);
  Client& client = found->second;
  if (entry->evicted) {
    client.evicted.erase(entry);
  } else {
    --connections_;
    bytes_ -= entry->bytes;
    take_weight(address, client, connection_weight + entry->bytes);
    client.waiting.erase(entry);
  }
  if (client.waiting.empty() && client.evicted.empty()) clients_.erase(found);
}

}  // namespace oceanid::proxy
