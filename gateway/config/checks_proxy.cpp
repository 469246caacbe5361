// Cross checks of `proxy`, `forwards` and of everything that listens.
#include "gateway/config/checks.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

struct Bound {
  std::string path;
  SocketAddress address;
};

// Two TCP sockets of ours that the kernel would not let listen side by side; [::] takes IPv4 as
// well.
bool collide(const SocketAddress& a, const SocketAddress& b) {
  if (a.port != b.port) return false;
  const auto covers = [](const IpAddress& wide, const IpAddress& narrow) {
    return wide.is_unspecified() && (!wide.is_v4() || narrow.is_v4());
  };
  return a.address == b.address || covers(a.address, b.address) || covers(b.address, a.address);
}

bool is_loopback(const IpAddress& address) {
  static const std::array ranges = {Prefix::parse("127.0.0.0/8").value(),
                                    Prefix::parse("::1/128").value()};
  return std::ranges::any_of(ranges, [&](const Prefix& one) { return one.contains(address); });
}

}  // namespace

void Checker::proxy() {
  const auto& proxy = config_.proxy;
  for (std::size_t i = 0; i < proxy.listeners.size(); ++i)
    listener(item_path("proxy.listeners", i), proxy.listeners[i]);
  if (clean("proxy.timeouts") && proxy.timeouts.attempt > proxy.timeouts.connect)
    add("proxy.timeouts.attempt", "found more than timeouts.connect; allowed: at most that");
  if (clean("proxy.breaker") && proxy.breaker.open > proxy.breaker.open_max)
    add("proxy.breaker.open", "found more than breaker.open_max; allowed: at most that");
  parent();
  roles();
}

// A parent that is one of our own listeners, as far as a text can tell: what it takes from us comes
// back to us. Other addresses of this host show when they are dialled.
void Checker::parent() {
  const auto& proxy = config_.proxy;
  if (!proxy.parent || !clean("proxy.parent")) return;
  std::vector<IpAddress> ours;
  if (const auto literal = IpAddress::parse(proxy.parent->at.host))
    ours.push_back(*literal);
  else if (proxy.parent->at.host == "localhost" || proxy.parent->at.host.ends_with(".localhost"))
    ours = {IpAddress::v4({127, 0, 0, 1}), IpAddress::parse("::1").value()};
  for (std::size_t i = 0; i < proxy.listeners.size(); ++i) {
    const std::string path = item_path("proxy.listeners", i);
    if (!clean(path)) continue;
    for (const IpAddress& address : ours) {
      if (!reaches({address, proxy.parent->at.port}, proxy.listeners[i].bind)) continue;
      return add("proxy.parent",
                 fmt::format("found {}, which is {} of this very gateway; allowed: another proxy",
                             proxy.parent->at.to_string(), path));
    }
  }
}

bool Checker::reaches(const SocketAddress& dialled, const SocketAddress& bound) const {
  if (dialled.port != bound.port) return false;
  if (dialled.address == bound.address) return true;
  if (!bound.address.is_unspecified() || (bound.address.is_v4() && !dialled.address.is_v4()))
    return false;
  // The kernel takes the unspecified address for this host's own.
  if (is_loopback(dialled.address) || dialled.address.is_unspecified()) return true;
  return config_.tunnel && std::ranges::find(config_.tunnel->addresses, dialled.address) !=
                               config_.tunnel->addresses.end();
}

void Checker::listener(const std::string& path, const proxy::ListenerSettings& listener) {
  const bool transparent = listener.protocol == proxy::ListenerProtocol::transparent;
  if (!clean(path)) return;
  if (listener.proxy_protocol && listener.trusted.empty())
    add(path + ".proxy_protocol",
        "found true, but nobody in trusted; allowed: true with the senders' addresses in trusted");
  if (!listener.proxy_protocol && !listener.trusted.empty())
    add(path + ".trusted", "found addresses without effect; allowed: with proxy_protocol: true");
  if (listener.intercept && !transparent)
    add(path + ".intercept", "found without effect; allowed: with protocol: transparent");
  if (listener.proxy_protocol && transparent)
    add(path + ".proxy_protocol",
        "found true with protocol: transparent, whose clients send none; allowed: with http and "
        "socks5");
  if (listener.tls && listener.tls->crl && !listener.tls->client_ca)
    add(path + ".tls.crl", "found without effect; allowed: with client_ca");
  if (listener.tls && transparent)
    add(path + ".tls", "found with protocol: transparent; allowed: with http and socks5");
}

void Checker::roles() {
  const auto& all = config_.proxy.policy.roles;
  if (!clean("proxy.policy.roles")) return;
  each_duplicate(all, &proxy::Role::name, [&](std::size_t earlier, std::size_t later) {
    add(item_path("proxy.policy.roles", later) + ".name",
        fmt::format("found {} a second time (also roles[{}]); allowed: every name once",
                    quoted(all[later].name), earlier));
  });
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string path = item_path("proxy.policy.roles", i);
    exit_names(path + ".exit", all[i].exit);
    if (all[i].name == "default")
      add(path + ".name",
          "found \"default\", which stands for clients without a role; allowed: "
          "another name");
  }
}

void Checker::forwards() {
  const auto& all = config_.forwards;
  if (!clean("forwards")) return;
  each_duplicate(all, &proxy::ForwardSettings::name, [&](std::size_t earlier, std::size_t later) {
    add(item_path("forwards", later) + ".name",
        fmt::format("found {} a second time (also forwards[{}]); allowed: every name once",
                    quoted(all[later].name), earlier));
  });
  for (std::size_t i = 0; i < all.size(); ++i)
    exit_names(item_path("forwards", i) + ".exit", all[i].exit);
}

void Checker::binds() {
  std::vector<Bound> all;
  const auto collect = [&](std::string path, const SocketAddress& bound) {
    if (clean(path)) all.push_back({std::move(path), bound});
  };
  collect("admin.bind", config_.admin_bind);
  for (std::size_t i = 0; i < config_.proxy.listeners.size(); ++i)
    collect(item_path("proxy.listeners", i) + ".bind", config_.proxy.listeners[i].bind);
  for (std::size_t i = 0; i < config_.forwards.size(); ++i)
    collect(item_path("forwards", i) + ".bind", config_.forwards[i].bind);
  if (config_.tunnel && config_.tunnel->tls) collect("tunnel.tls.bind", config_.tunnel->tls->bind);
  for (std::size_t later = 1; later < all.size(); ++later)
    for (std::size_t earlier = 0; earlier < later; ++earlier) {
      if (!collide(all[earlier].address, all[later].address)) continue;
      add(all[later].path,
          fmt::format("found {}, which {} ({}) takes already; allowed: another port",
                      all[later].address.to_string(), all[earlier].path,
                      all[earlier].address.to_string()));
      break;
    }
}

}  // namespace oceanid::config
