#include "proxy/edge/tunnel_ledger.hpp"

namespace oceanid::proxy {

TunnelLedger::Slot& TunnelLedger::Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  release();
  ledger_ = std::move(other.ledger_);
  group_ = std::move(other.group_);
  client_ = other.client_;
  role_ = std::move(other.role_);
  throttle_ = std::move(other.throttle_);
  return *this;
}

void TunnelLedger::Slot::release() {
  if (ledger_) std::exchange(ledger_, nullptr)->release(*this);
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

std::expected<void, Reason> TunnelLedger::join_role(Slot& slot, const std::string& role,
                                                    const RoleLimits& limits) {
  const std::lock_guard lock(mutex_);
  RoleUse& use = roles_[role];
  if (limits.tunnels != 0 && use.open >= limits.tunnels) return std::unexpected(Reason::role_limit);
  ++use.open;
  slot.role_ = role;
  if (limits.bandwidth_bits == 0) {
    use.throttle.reset();  // open tunnels keep the pace that they began with
  } else if (!use.throttle) {
    use.throttle = std::make_shared<Throttle>(limits.bandwidth_bits);
  } else {
    use.throttle->set(limits.bandwidth_bits);
  }
  slot.throttle_ = use.throttle;
  return {};
}

bool TunnelLedger::may_ask(const std::string& role, std::uint32_t per_second) {
  if (per_second == 0) return true;
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  RoleUse& use = roles_[role];
  if (!use.requests) use.requests.emplace(per_second, now);
  use.requests->set_rate(per_second, now);
  return use.requests->take_one(now);
}

bool TunnelLedger::may_try_password(const IpAddress& client) {
  const std::lock_guard lock(mutex_);
  return passwords_.try_once(client, std::chrono::steady_clock::now());
}

void TunnelLedger::password_was_right(const IpAddress& client) {
  const std::lock_guard lock(mutex_);
  passwords_.was_right(client);
}

std::uint64_t TunnelLedger::open(const std::string& group) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(group);
  return found == groups_.end() ? 0 : found->second.open;
}

std::uint64_t TunnelLedger::open_in_role(const std::string& role) const {
  const std::lock_guard lock(mutex_);
  const auto found = roles_.find(role);
  return found == roles_.end() ? 0 : found->second.open;
}

void TunnelLedger::release(const Slot& slot) {
  const std::lock_guard lock(mutex_);
  Group& entry = groups_[slot.group_];
  --entry.open;
  const auto mine = entry.clients.find(slot.client_);
  if (mine != entry.clients.end() && --mine->second == 0) entry.clients.erase(mine);
  if (!slot.role_.empty()) --roles_[slot.role_].open;
}

}  // namespace oceanid::proxy
