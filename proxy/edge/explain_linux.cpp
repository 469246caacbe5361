#include "gateway/base/runtime/unique_fd.hpp"
#include "proxy/core/target.hpp"
#include "proxy/edge/admission.hpp"
#include "proxy/edge/explain.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace oceanid::proxy {
namespace {

unsigned device_mtu(const std::string& device) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  if (!fd || device.size() >= sizeof request.ifr_name) return 0;
  std::memcpy(request.ifr_name, device.data(), device.size());
  if (::ioctl(fd.get(), SIOCGIFMTU, &request) != 0) return 0;
  return static_cast<unsigned>(std::max(request.ifr_mtu, 0));
}

// Connecting a datagram socket sends nothing and looks the route up.
unsigned route_mtu(const IpAddress& address) {
  const bool v4 = address.is_v4();
  const UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return 0;
  sockaddr_in to4{};
  sockaddr_in6 to6{};
  to4.sin_family = AF_INET;
  to6.sin6_family = AF_INET6;
  to4.sin_port = to6.sin6_port = htons(9);
  std::memcpy(v4 ? static_cast<void*>(&to4.sin_addr) : static_cast<void*>(&to6.sin6_addr),
              address.bytes().data(), address.bytes().size());
  const auto* to =
      v4 ? reinterpret_cast<const sockaddr*>(&to4) : reinterpret_cast<const sockaddr*>(&to6);
  if (::connect(fd.get(), to, v4 ? sizeof to4 : sizeof to6) != 0) return 0;
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (::getsockopt(fd.get(), level, v4 ? IP_MTU : IPV6_MTU, &mtu, &size) != 0) return 0;
  return static_cast<unsigned>(std::max(mtu, 0));
}

struct Explainer {
  ServerCore& core;
  std::shared_ptr<const Snapshot> snapshot;
  Explanation out;

  void refuse(Reason reason, const std::string& why) {
    out.verdict = "deny";
    out.reason = to_string(reason);
    out.status = status_of(reason);
    out.sentence =
        fmt::format("{} would get {} {}: {}", out.from, out.status, row_of(reason).phrase, why);
  }

  // Whether an address is left to dial (all of them, where a parent picks); says why not otherwise.
  bool judge(const Decision& decision, const Addresses& addresses, const ExitChoice& exit) {
    const bool direct = out.parent.empty();
    bool any = false;
    std::optional<std::pair<Reason, std::string>> refused;
    for (const IpAddress& address : addresses) {
      ExplainedAddress one;
      one.address = address.to_string();
      one.usable = !direct || (address.is_v4() ? exit.ipv4 : exit.ipv6);
      const AddressVerdict policy = decision.judge_address(address);
      const GuardVerdict guard = snapshot->guard.judge(address);
      one.allowed = policy.allowed && guard.allowed;
      one.rule = !policy.allowed || guard.allowed ? policy.rule : guard.rule;
      if (one.rule.empty()) one.rule = guard.rule;
      if (policy.reported && one.allowed) out.verdict = "report";
      if (!one.allowed && !refused)
        refused = policy.allowed ? std::pair(Reason::destination_prohibited, guard.rule)
                                 : std::pair(policy.reason, policy.rule);
      if (one.allowed && one.usable) any = true;
      if (one.allowed && !policy.rule.empty()) out.rule = policy.rule;
      out.addresses.push_back(std::move(one));
    }
    if (any && (direct || !refused)) return true;
    if (refused) {
      out.rule = refused->second;
      refuse(refused->first, "refused by " + refused->second);
    } else {
      refuse(Reason::destination_unreachable,
             fmt::format("exit {} has no family of this destination", exit.name));
    }
    return false;
  }

  // A name that only the parent can resolve.
  bool judge_unresolved(const Decision& decision) {
    const AddressVerdict said = decision.judge_unresolved();
    if (said.reported) out.verdict = "report";
    if (said.allowed) return true;
    out.rule = said.rule;
    refuse(said.reason, fmt::format("refused by {}: the name has no address here, and no rule "
                                    "allows the name itself",
                                    said.rule));
    return false;
  }

  awaitable<void> run(Identity who, HostPort destination) {
    out.host = destination.host;
    out.port = destination.port;
    out.from = who.source.to_string();
    out.user = who.user;
    if (!client_allowed(*snapshot, who.source)) {
      refuse(Reason::client_not_allowed, "proxy.clients does not name this address");
      co_return;
    }
    const Decision decision = snapshot->policy.decide(who, destination, Asked::tunnel);
    out.role = decision.role;
    out.rule = decision.rule;
    if (!decision.allowed) {
      refuse(decision.reason, refusal_of(decision).detail);
      co_return;
    }
    out.verdict = decision.reported ? "report" : "allow";
    const auto exit = choose_exit(snapshot->runtime->exits.get(),
                                  snapshot->runtime->exits_configured, decision.exit);
    if (!exit) {
      refuse(Reason::no_exit, none_usable(decision.exit));
      co_return;
    }
    out.exit = exit->name;
    out.device = exit->device;
    const auto& parent = snapshot->settings().parent;
    if (parent) out.parent = parent->at.to_string();
    const auto addresses = co_await core.resolver_for(*exit).resolve(destination.resolver_name());
    if (addresses) {
      if (!judge(decision, *addresses, *exit)) co_return;
    } else if (!parent) {
      refuse(addresses.error().reason, addresses.error().detail);
      co_return;
    } else if (!judge_unresolved(decision)) {
      co_return;
    }
    if (parent) {
      const auto hop = co_await core.resolver_for(*exit).resolve(parent->at.resolver_name());
      if (!hop) {
        refuse(Reason::parent_unreachable,
               fmt::format("the parent proxy {}: {}", out.parent, hop.error().detail));
        co_return;
      }
      out.mtu = mtu_towards(exit->device, hop->front());
    } else {
      out.mtu = mtu_towards(exit->device, addresses->front());
    }
    out.reason = to_string(Reason::ok);
    out.status = status_of(Reason::ok);
    out.sentence = fmt::format(
        "{} may connect to {} in role {}{}, by {}{}{}", out.from, destination.to_string(), out.role,
        out.verdict == "report" ? " (enforce would refuse it)" : "",
        exit->name.empty() ? std::string("this host's own routes") : "exit " + exit->name,
        parent ? ", through the parent proxy " + out.parent : std::string(),
        addresses ? "" : "; the name has no address here, so no guard judges where it leads");
  }
};

}  // namespace

unsigned mtu_towards(const std::string& device, const IpAddress& address) {
  return device.empty() ? route_mtu(address) : device_mtu(device);
}

awaitable<void> explain(ServerCore& core, ExplainQuery query,
                        std::function<void(Result<Explanation>)> done) {
  auto destination = parse_authority(query.destination);
  const auto from = IpAddress::parse(query.from.empty() ? "127.0.0.1" : query.from);
  if (!destination || !from) {
    done(fail(Errc::invalid_argument,
              destination ? "--from is not an address" : destination.error().what));
    co_return;
  }
  Explainer explainer{core, core.snapshot(), {}};
  co_await explainer.run({*from, std::move(query.user), std::move(query.certificates)},
                         std::move(*destination));
  done(std::move(explainer.out));
}

}  // namespace oceanid::proxy
