#include "proxy/edge/tunnel_ledger.hpp"

namespace oceanid::proxy {

TunnelLedger::Slot& TunnelLedger::Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  release();
  ledger_ = std::move(other.ledger_);
  group_ = std::move(other.group_);
  client_ = other.client_;
  return *this;
}

void TunnelLedger::Slot::release() {
  if (ledger_) std::exchange(ledger_, nullptr)->release(group_, client_);
}

std::expected<TunnelLedger::Slot, Reason> TunnelLedger::take(const std::string& group,
                                                             const IpAddress& client,
                                                             SlotLimits limits) {
  const std::lock_guard lock(mutex_);
  Group& entry = groups_[group];
  if (limits.total != 0 && entry.open >= limits.total) return std::unexpected(Reason::tunnel_limit);
  const auto known = entry.clients.find(client);
  const std::uint32_t mine = known == entry.clients.end() ? 0 : known->second;
  if (limits.per_client != 0 && mine >= limits.per_client)
    return std::unexpected(Reason::client_limit);
  ++entry.open;
  ++entry.clients[client];
  return Slot(shared_from_this(), group, client);
}

std::uint64_t TunnelLedger::open(const std::string& group) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(group);
  return found == groups_.end() ? 0 : found->second.open;
}

void TunnelLedger::release(const std::string& group, const IpAddress& client) {
  const std::lock_guard lock(mutex_);
  Group& entry = groups_[group];
  --entry.open;
  const auto mine = entry.clients.find(client);
  if (mine != entry.clients.end() && --mine->second == 0) entry.clients.erase(mine);
}

}  // namespace oceanid::proxy
