// Which notices of rtnetlink are about something of ours, and whose netlink port it was.

#include "routing/edge/facts_watcher.hpp"
#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

std::optional<Sign> rule_sign(const nlmsghdr& message) {
  const auto decoded = decode_rule(message);
  if (!decoded) return std::nullopt;
  return Sign{DriftKind::rule, object_of(decoded->rule), {}, {}, {}};
}

std::optional<Sign> route_sign(const nlmsghdr& message, const OwnObjects& own) {
  const auto decoded = decode_route(message);
  if (!decoded) return std::nullopt;
  if (decoded->protocol != route_protocol && !own.tables.contains(decoded->route.table))
    return std::nullopt;
  return Sign{DriftKind::route, object_of(decoded->route), {}, {}, {}};
}

std::optional<Sign> address_sign(const nlmsghdr& message, const OwnObjects& own) {
  const auto decoded = decode_address(message);
  if (!decoded || decoded->facts.link_local) return std::nullopt;
  const auto link = own.indexes.find(decoded->device);
  if (link == own.indexes.end()) return std::nullopt;
  return Sign{DriftKind::address,
              fmt::format("{} {}", link->second, decoded->facts.local.to_string()),
              {},
              {},
              {}};
}

std::optional<Sign> link_sign(const nlmsghdr& message, const OwnObjects& own) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(ifinfomsg)) return std::nullopt;
  const std::string name = Attributes::of(message, sizeof(ifinfomsg)).text(IFLA_IFNAME);
  if (!own.links.contains(name)) return std::nullopt;
  return Sign{DriftKind::link, name, {}, {}, {}};
}

}  // namespace

std::optional<Sign> sign_of(const nlmsghdr& message, const OwnObjects& own) {
  switch (message.nlmsg_type) {
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return rule_sign(message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return route_sign(message, own);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return address_sign(message, own);
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return link_sign(message, own);
    default:
      return std::nullopt;
  }
}

// The kernel gives the first socket of a process the process' id, later ones a random number with
// the highest bit set (netlink_autobind). A process that has ended already has no name any more,
// and a thread of the kernel (child of number 2) never was it: then somebody in another PID
// namespace has that id there.
Culprit culprit_of(std::uint32_t port) {
  constexpr std::uint32_t highest_pid = 1U << 22U;
  if (port == 0 || port > highest_pid) return {};
  Culprit out{{}, port};
  const std::string path = fmt::format("/proc/{}/stat", port);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> buffer{};
  if (!file) return out;
  const auto count = ::read(file.get(), buffer.data(), buffer.size());
  const std::string_view text(buffer.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  const auto begin = text.find('(');
  const auto end = text.rfind(')');
  constexpr std::size_t to_parent = 4;  // ") S "
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin ||
      end + to_parent >= text.size())
    return out;
  constexpr std::string_view kthreadd = "2 ";
  if (text.substr(end + to_parent).starts_with(kthreadd)) return {};
  out.name = std::string(text.substr(begin + 1, end - begin - 1));
  return out;
}

}  // namespace oceanid::routing
