#include "routing/core/port_budget.hpp"

#include "routing/core/conntrack.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

std::string protocol_name(std::uint8_t protocol) {
  if (protocol == tcp_number) return "tcp";
  return protocol == udp_number ? "udp" : std::to_string(protocol);
}

std::size_t hash(std::size_t seed, const IpAddress& address) {
  for (const std::uint8_t byte : address.bytes())
    seed = (seed ^ byte) * 0x100000001b3ULL;  // FNV-1a
  return seed;
}

std::vector<IpAddress> of_family(const std::vector<IpAddress>& all, Family family) {
  std::vector<IpAddress> out;
  std::ranges::copy_if(all, std::back_inserter(out),
                       [&](const IpAddress& one) { return one.family() == family; });
  return out;
}

}  // namespace

std::string Destination::to_string() const {
  return SocketAddress{address, port}.to_string() + '/' + protocol_name(protocol);
}

std::size_t PortUseHash::operator()(const Destination& to) const {
  const std::size_t out = hash(to.port + (std::size_t{to.protocol} << 16), to.address);
  return out ^ (out >> 29);
}

std::size_t PortUseHash::operator()(const PortUse& use) const {
  const std::size_t out = hash((*this)(use.to), use.address);
  return out ^ (out >> 29);
}

void PortBudget::set_ports(const SnatPorts& ports) {
  if (available_ == ports.count()) return;
  available_ = ports.count();
  const auto part = [&](std::uint32_t percent) {
    return std::max(1U, static_cast<std::uint32_t>(std::uint64_t{available_} * percent / 100));
  };
  busy_from_ = std::max(1U, available_ / 128);
  // Eight of ten, and seven to be calm again: at 5,000 new connections a second to one place a
  // second is worth 8 %.
  spill_from_ = part(80);
  calm_below_ = part(70);
  busy_.clear();
  for (const auto& [use, count] : used_)
    if (count >= busy_from_) busy_.insert(use);
  pressing_ = !busy_.empty();
}

bool PortBudget::opened(const PortUse& use) {
  auto found = used_.find(use);
  if (found == used_.end()) {
    if (used_.size() >= most_uses) return false;
    found = used_.emplace(use, 0).first;
  }
  const std::uint32_t now = ++found->second;
  if (now == busy_from_) busy_.insert(use);
  pressing_ = pressing_ || now == spill_from_;
  return true;
}

void PortBudget::closed(const PortUse& use) {
  const auto found = used_.find(use);
  if (found == used_.end()) return;
  if (found->second-- == busy_from_) busy_.erase(use);
  if (found->second == 0) used_.erase(found);
}

std::uint32_t PortBudget::used(const PortUse& use) const {
  const auto found = used_.find(use);
  return found == used_.end() ? 0 : found->second;
}

std::vector<PortBudget::Line> PortBudget::fullest(std::size_t most) const {
  std::vector<Line> out;
  out.reserve(busy_.size());
  for (const PortUse& use : busy_) {
    const std::uint32_t count = used(use);
    out.push_back({use, count, static_cast<double>(count) / available_});
  }
  std::ranges::sort(out, [](const Line& a, const Line& b) {
    return a.used != b.used ? a.used > b.used : a.use < b.use;
  });
  if (out.size() > most) out.resize(most);
  return out;
}

// The first one that has room; one that was left has to be calm again. Where none has any, the
// emptiest by far, or the one that is taken now.
std::size_t PortBudget::place(const Destination& to, std::size_t now,
                              const Addresses& addresses) const {
  std::size_t emptiest = std::min(now, addresses.size() - 1);
  std::uint32_t fewest = used({addresses[emptiest], to});
  fewest -= std::min(fewest, available_ / 50);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::uint32_t count = used({addresses[i], to});
    if (count < (i < now ? calm_below_ : spill_from_)) return i;
    if (count >= fewest) continue;
    fewest = count;
    emptiest = i;
  }
  return emptiest;
}

void PortBudget::spill(Seconds now, const Addresses& all, Advice& advice) {
  for (const PortUse& use : busy_)
    if (used(use) >= spill_from_) placed_.try_emplace(use.to);
  for (auto& [to, placed] : placed_) {
    const Addresses addresses = of_family(all, to.address.family());
    const std::size_t before = placed.number;
    placed.number = addresses.size() < 2 ? 0 : place(to, before, addresses);
    if (placed.number == before && (before == 0 || now - placed.said < renew_after)) continue;
    placed.said = now;
    advice.spills.push_back({to, before, placed.number});
  }
  std::erase_if(placed_, [](const auto& entry) { return entry.second.number == 0; });
}

std::string PortBudget::warning(const PortUse& use, const IpAddress* next) const {
  const std::uint32_t count = used(use);
  const std::string head = fmt::format(
      "{} has taken {} % of its {} ports towards {}", use.address.to_string(),
      (std::uint64_t{count} * 100 + available_ / 2) / available_, available_, use.to.to_string());
  if (next != nullptr)
    return fmt::format("{}: new connections there take {}", head, next->to_string());
  return head +
         "; from 90 % on new connections fail: give serve_exit.snat a further address, or put a "
         "connection pooler in front of it";
}

void PortBudget::notify(const Addresses& all, Advice& advice) {
  std::erase_if(told_, [&](const PortUse& use) {
    const std::uint32_t count = used(use);
    if (count >= calm_below_) return false;
    advice.notices.push_back(
        {false, fmt::format("{} has ports again towards {}: {} of {} are taken",
                            use.address.to_string(), use.to.to_string(), count, available_)});
    return true;
  });
  for (const PortUse& use : busy_) {
    if (used(use) < spill_from_ || !told_.insert(use).second) continue;
    const IpAddress* next = nullptr;
    const auto placed = placed_.find(use.to);
    const Addresses addresses = of_family(all, use.address.family());
    if (placed != placed_.end() && placed->second.number < addresses.size() &&
        addresses[placed->second.number] != use.address)
      next = &addresses[placed->second.number];
    advice.notices.push_back({true, warning(use, next)});
  }
  std::ranges::sort(advice.notices, {}, &Notice::text);
}

PortBudget::Advice PortBudget::tick(Seconds now, const std::vector<IpAddress>& addresses) {
  Advice out;
  pressing_ = false;
  spill(now, addresses, out);
  notify(addresses, out);
  return out;
}

}  // namespace oceanid::routing
