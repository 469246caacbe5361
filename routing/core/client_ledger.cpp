#include "routing/core/client_ledger.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace oceanid::routing {
namespace {

void count(std::vector<ClientLedger::DestinationLine>& lines, const Destination& to,
           std::uint64_t bytes) {
  const auto same = std::ranges::find(lines, to, &ClientLedger::DestinationLine::to);
  if (same != lines.end()) {
    same->bytes += bytes;
    ++same->flows;
    return;
  }
  if (lines.size() < ClientLedger::most_destinations) {
    lines.push_back({to, bytes, 1});
    return;
  }
  const auto least = std::ranges::min_element(lines, {}, &ClientLedger::DestinationLine::bytes);
  *least = {to, least->bytes + bytes, 1};
}

// The /24 or /64 that the address lies in: what a node's pods share.
Prefix network_around(const IpAddress& address) {
  const auto bytes = address.bytes();
  if (address.is_v4())
    return Prefix::make(IpAddress::v4({bytes[0], bytes[1], bytes[2], 0}), 24)
        .value_or(Prefix::any(Family::v4));
  std::array<std::uint8_t, 16> base{};
  std::ranges::copy(bytes.first(8), base.begin());
  return Prefix::make(IpAddress::v6(base), 64).value_or(Prefix::any(Family::v6));
}

}  // namespace

Usage& Usage::operator+=(const Usage& more) {
  bytes_up += more.bytes_up;
  bytes_down += more.bytes_down;
  packets_up += more.packets_up;
  packets_down += more.packets_down;
  return *this;
}

std::size_t ClientLedger::Hash::operator()(const IpAddress& address) const {
  std::size_t out = 0xcbf29ce484222325ULL;
  for (const std::uint8_t byte : address.bytes())
    out = (out ^ byte) * 0x100000001b3ULL;  // FNV-1a
  return out ^ (out >> 29);
}

// Clients with open flows stay; an eighth goes at once, so that the search for them is rare, also
// when it finds none.
void ClientLedger::make_room() {
  if (uses_ < crowded_until_) return;
  std::vector<std::pair<std::uint64_t, IpAddress>> silent;
  for (const auto& [address, client] : clients_)
    if (client.open == 0) silent.emplace_back(client.last, address);
  const std::size_t leaving = std::min(silent.size(), most_clients / 8);
  if (leaving == 0) {
    crowded_until_ = uses_ + most_clients / 8;
    return;
  }
  std::ranges::nth_element(silent, silent.begin() + static_cast<std::ptrdiff_t>(leaving));
  for (std::size_t i = 0; i < leaving; ++i)
    clients_.erase(silent[i].second);
}

ClientLedger::Client* ClientLedger::client_of(const IpAddress& address) {
  ++uses_;
  auto found = clients_.find(address);
  if (found == clients_.end()) {
    if (clients_.size() >= most_clients) make_room();
    if (clients_.size() >= most_clients) return nullptr;
    found = clients_.try_emplace(address).first;
    found->second.address = address;
  }
  found->second.last = uses_;
  return &found->second;
}

ClientLedger::Network& ClientLedger::network_of(const IpAddress& address) {
  const Prefix prefix = network_around(address);
  const auto found = networks_.find(prefix);
  if (found != networks_.end()) return found->second;
  return networks_[networks_.size() < most_networks ? prefix : Prefix::any(Family::v4)];
}

bool ClientLedger::opened(const IpAddress& client) {
  Client* line = client_of(client);
  if (line != nullptr) ++line->open;
  return line != nullptr;
}

void ClientLedger::closed(const IpAddress& client) {
  const auto found = clients_.find(client);
  if (found != clients_.end() && found->second.open > 0) --found->second.open;
}

void ClientLedger::ended(const IpAddress& client, const Destination& to, const Usage& usage) {
  Network& network = network_of(client);
  network.usage += usage;
  ++network.flows;
  Client* line = client_of(client);
  if (line == nullptr) return;
  line->usage += usage;
  ++line->flows;
  count(line->destinations, to, usage.bytes());
}

const ClientLedger::Client* ClientLedger::busiest() const {
  const Client* out = nullptr;
  for (const auto& [address, client] : clients_)
    if (client.open > (out != nullptr ? out->open : 0)) out = &client;
  return out;
}

std::vector<const ClientLedger::Client*> ClientLedger::largest(std::size_t most) const {
  std::vector<const Client*> out;
  out.reserve(clients_.size());
  for (const auto& [address, client] : clients_)
    out.push_back(&client);
  const auto larger = [](const Client* a, const Client* b) {
    const auto rank = [](const Client* client) {
      return std::tuple(client->usage.bytes(), client->open, client->address);
    };
    return rank(a) > rank(b);
  };
  const std::size_t kept = std::min(most, out.size());
  std::ranges::partial_sort(out, out.begin() + static_cast<std::ptrdiff_t>(kept), larger);
  out.resize(kept);
  return out;
}

}  // namespace oceanid::routing
