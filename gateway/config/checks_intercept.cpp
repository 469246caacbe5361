// Cross checks of `proxy.listeners[].intercept`.
#include "gateway/config/checks.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

// Whether a connection of this family, redirected to the receiving interface's own address, can
// meet the listener.
bool takes(const IpAddress& bind, Family family) {
  return bind.family() == family || (bind.is_unspecified() && !bind.is_v4());
}

bool is_loopback(const IpAddress& address) {
  static const Prefix v4 = Prefix::parse("127.0.0.0/8").value();
  return v4.contains(address) || address == IpAddress::parse("::1").value();
}

// A source and a port that both claim.
std::optional<std::string> shared(const proxy::Intercept& a, const proxy::Intercept& b) {
  for (const Prefix& source : a.sources)
    for (const Prefix& other : b.sources) {
      if (!source.overlaps(other)) continue;
      for (const std::uint16_t port : a.ports)
        if (std::ranges::find(b.ports, port) != b.ports.end())
          return fmt::format("port {} of {}", port, source.to_string());
    }
  return std::nullopt;
}

}  // namespace

void Checker::interceptions() {
  const auto& all = config_.proxy.listeners;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string path = item_path("proxy.listeners", i);
    if (!all[i].intercept || !clean(path)) continue;
    interception(path, all[i]);
    for (std::size_t earlier = 0; earlier < i; ++earlier) {
      if (!all[earlier].intercept || !clean(item_path("proxy.listeners", earlier))) continue;
      if (const auto both = shared(*all[i].intercept, *all[earlier].intercept))
        add(path + ".intercept",
            fmt::format("found {}, which listeners[{}] takes already; allowed: every source and "
                        "port in one listener",
                        *both, earlier));
    }
  }
}

void Checker::interception(const std::string& path, const proxy::ListenerSettings& listener) {
  const IpAddress& bind = listener.bind.address;
  if (is_loopback(bind)) {
    add(path + ".bind",
        found_but(bind.to_string() + " with intercept, which delivers to the address of the "
                                     "interface that a connection comes in by",
                  "[::], 0.0.0.0 or that address"));
    return;
  }
  // Nothing else tells a connection that was brought here from one that was made to us.
  if (listener.takes_by_tproxy() &&
      std::ranges::find(listener.intercept->ports, listener.bind.port) !=
          listener.intercept->ports.end())
    add(path + ".intercept.ports",
        found_but(fmt::format("{}, the listener's own, with mode: tproxy", listener.bind.port),
                  "a listener on another port"));
  const auto& sources = listener.intercept->sources;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string item = item_path(path + ".intercept.sources", i);
    const std::string found = sources[i].to_string();
    if (!takes(bind, sources[i].family()))
      add(item, found_but(fmt::format("{}, which cannot reach {}", found, bind.to_string()),
                          "sources of the family of bind; [::] takes both"));
    if (clean("tunnel") && clean("exits") && clean("serve_exit"))
      for (const NamedAddress& own : underlay(config_))
        if (sources[i].contains(own.address))
          add(item, found_but(fmt::format("{}, which contains {} ({})", found, own.what,
                                          own.address.to_string()),
                              "the clients' own ranges"));
  }
}

}  // namespace oceanid::config
