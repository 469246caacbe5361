// Routes: ours in every table, and the host's default routes.

#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <algorithm>
#include <cerrno>

#include <linux/rtnetlink.h>

namespace oceanid::routing {
namespace {

std::optional<IfName> name_of(const std::vector<LinkFacts>& links, std::uint32_t index) {
  const auto found = std::ranges::find(links, index, &LinkFacts::index);
  if (index == 0 || found == links.end()) return std::nullopt;
  return found->name;
}

}  // namespace

Result<void> LinuxKernel::read_routes(Family family, const std::vector<LinkFacts>& links,
                                      Actual& actual) {
  std::vector<Route> found;
  auto dumped = route_.dump(
      encode_route_dump(family, route_protocol, /*table=*/0), [&] { found.clear(); },
      [&](const nlmsghdr& message) {
        auto decoded = decode_route(message);
        // Kernels before 4.20 do not filter by protocol.
        if (!decoded || decoded->protocol != route_protocol) return;
        decoded->route.device = name_of(links, decoded->device);
        found.push_back(std::move(decoded->route));
      });
  if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading routes"));
  std::ranges::move(found, std::back_inserter(actual.routes));
  return {};
}

// The kernel filters by table and answers that there is none (ENOENT) until it has its first route.
Result<std::vector<Route>> LinuxKernel::foreign_routes(const std::set<std::uint32_t>& tables) {
  std::vector<Route> out;
  std::vector<LinkFacts> links;
  const auto name = [&](std::uint32_t index) -> std::optional<IfName> {
    // Asked for only when there is something foreign at all, which is hardly ever.
    if (links.empty())
      if (auto read = read_links()) links = std::move(*read);
    return name_of(links, index);
  };
  for (const Family family : families()) {
    for (const std::uint32_t table : tables) {
      std::vector<DecodedRoute> found;
      auto dumped = route_.dump(
          encode_route_dump(family, /*protocol=*/0, table), [&] { found.clear(); },
          [&](const nlmsghdr& message) {
            auto decoded = decode_route(message);
            if (decoded && decoded->protocol != route_protocol && decoded->route.table == table)
              found.push_back(std::move(*decoded));
          });
      if (!dumped && dumped.error().os_error != ENOENT)
        return std::unexpected(std::move(dumped.error()).context("reading foreign routes"));
      for (DecodedRoute& decoded : found) {
        decoded.route.device = name(decoded.device);
        out.push_back(std::move(decoded.route));
      }
    }
  }
  return out;
}

Result<std::vector<DefaultRoute>> LinuxKernel::read_defaults(Family family,
                                                             const std::vector<LinkFacts>& links) {
  std::vector<DefaultRoute> found;
  auto dumped = route_.dump(
      encode_route_dump(family, /*protocol=*/0, RT_TABLE_MAIN), [&] { found.clear(); },
      [&](const nlmsghdr& message) {
        const auto decoded = decode_route(message);
        if (!decoded || decoded->route.table != RT_TABLE_MAIN ||
            decoded->route.destination.length() != 0 || decoded->route.type != RouteType::unicast)
          return;
        if (auto device = name_of(links, decoded->device))
          found.push_back(DefaultRoute{family, std::move(*device), decoded->route.gateway,
                                       decoded->route.metric, decoded->route.source});
      });
  if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading default routes"));
  std::ranges::sort(found, {}, &DefaultRoute::metric);
  return found;
}

}  // namespace oceanid::routing
