#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <algorithm>
#include <cerrno>

#include <linux/netlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

// Already as wanted: deleting what is gone.
// ENXIO: an IPv6 address of a device that has lost IPv6 altogether, as one does whose MTU falls
// below 1280.
bool is_gone(const Error& error) {
  return error.os_error == ENOENT || error.os_error == ESRCH || error.os_error == ENODEV ||
         error.os_error == EADDRNOTAVAIL || error.os_error == ENXIO;
}

Result<std::uint32_t> index_of(const IfName& name) {
  const unsigned index = if_nametoindex(name.str().c_str());
  if (index != 0) return index;
  // It opens a socket for the question: out of descriptors (glibc then says ENOENT) is not the same
  // as "no such device".
  if (errno != ENODEV) return fail(Errc::io, "cannot ask for the number of device " + name.str());
  return fail_errno("device " + name.str(), ENODEV);
}

Result<Message> link_message(const IfName& name, std::optional<unsigned> mtu,
                             std::optional<bool> up) {
  auto index = index_of(name);
  if (!index) return std::unexpected(std::move(index.error()));
  return encode_set_link(*index, mtu, up);
}

Result<Message> address_message(bool add, const IfName& name, const InterfaceAddress& address) {
  auto index = index_of(name);
  if (!index) return std::unexpected(std::move(index.error()));
  return encode_address(add, *index, address);
}

Result<Message> route_message(RouteAction action, const Route& route) {
  std::uint32_t device = 0;
  if (route.device) {
    auto index = index_of(*route.device);
    if (!index) return std::unexpected(std::move(index.error()));
    device = *index;
  }
  return encode_route(action, route, device);
}

struct Encoder {
  Result<Message> operator()(const SetMtu& c) const { return link_message(c.link, c.to, {}); }
  Result<Message> operator()(const SetUp& c) const { return link_message(c.link, {}, c.up); }
  Result<Message> operator()(const AddAddress& c) const {
    return address_message(true, c.link, c.address);
  }
  Result<Message> operator()(const DeleteAddress& c) const {
    return address_message(false, c.link, c.address);
  }
  Result<Message> operator()(const AddRoute& c) const {
    return route_message(RouteAction::add, c.route);
  }
  Result<Message> operator()(const ReplaceRoute& c) const {
    return route_message(RouteAction::replace, c.to);
  }
  Result<Message> operator()(const DeleteRoute& c) const {
    return route_message(RouteAction::remove, c.route);
  }
  Result<Message> operator()(const AddRule& c) const { return encode_add_rule(c.rule); }
  Result<Message> operator()(const DeleteRule& c) const { return encode_delete_rule(c.rule); }
};

// What is there already, or gone already, is well.
struct Judge {
  Result<void> done;

  template <typename T>
  Result<void> operator()(const T& change) {
    constexpr bool adds =
        std::is_same_v<T, AddAddress> || std::is_same_v<T, AddRoute> || std::is_same_v<T, AddRule>;
    constexpr bool deletes = std::is_same_v<T, DeleteAddress> || std::is_same_v<T, DeleteRoute> ||
                             std::is_same_v<T, DeleteRule>;
    if (done || (deletes && is_gone(done.error())) || (adds && done.error().os_error == EEXIST))
      return {};
    return std::unexpected(
        std::move(done.error()).context(describe(Change(NetlinkChange(change)))));
  }
};

}  // namespace

std::vector<Family> LinuxKernel::families() {
  if (::access("/proc/net/if_inet6", F_OK) == 0) return {Family::v4, Family::v6};
  return {Family::v4};
}

LinuxKernel::LinuxKernel(NetlinkSocket route, NetlinkSocket netfilter, ElementWriter elements,
                         NftRunner nft)
    : route_(std::move(route)),
      netfilter_(std::move(netfilter)),
      elements_(std::move(elements)),
      nft_(std::move(nft)) {}

Result<std::unique_ptr<LinuxKernel>> LinuxKernel::open(const asio::any_io_executor& executor,
                                                       NftOptions options) {
  auto route = NetlinkSocket::open(NETLINK_ROUTE);
  if (!route) return std::unexpected(std::move(route.error()));
  auto netfilter = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!netfilter) return std::unexpected(std::move(netfilter.error()));
  auto elements = ElementWriter::open([](NetlinkSocket& socket) -> Result<std::uint64_t> {
    auto tables = read_nft(socket);
    if (!tables) return std::unexpected(std::move(tables.error()));
    return tables->stamp;
  });
  if (!elements) return std::unexpected(std::move(elements.error()));
  return std::unique_ptr<LinuxKernel>(new LinuxKernel(std::move(*route), std::move(*netfilter),
                                                      std::move(*elements),
                                                      NftRunner(executor, std::move(options))));
}

Result<Actual> LinuxKernel::read_actual() {
  Actual actual;
  actual.ipv6 = families().size() > 1;
  auto links = read_links();
  if (!links) return std::unexpected(std::move(links.error()));
  for (const LinkFacts& link : *links) {
    LinkActual& made =
        actual.links.emplace_back(LinkActual{link.name, link.up, link.mtu, {}, link.index});
    for (const AddressFacts& address : link.addresses)
      if (!address.link_local) made.addresses.push_back(address.local);
  }
  for (const Family family : families()) {
    if (auto read = read_rules(family, actual); !read)
      return std::unexpected(std::move(read.error()));
    if (auto read = read_routes(family, *links, actual); !read)
      return std::unexpected(std::move(read.error()));
  }
  auto tables = read_nft(netfilter_);
  if (!tables) return std::unexpected(std::move(tables.error()));
  actual.nft = *tables;
  return actual;
}

Result<HostFacts> LinuxKernel::facts() {
  HostFacts out;
  auto links = read_links();
  if (!links) return std::unexpected(std::move(links.error()));
  out.links = std::move(*links);
  for (const char* calls :
       {"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"}) {
    const auto value = read_sysctl(calls);
    if (!value || *value == "0") continue;
    for (LinkFacts& link : out.links)
      link.tracked = link.tracked || link.kind == "bridge";
  }
  for (const Family family : families()) {
    auto defaults = read_defaults(family, out.links);
    if (!defaults) return std::unexpected(std::move(defaults.error()));
    std::ranges::move(*defaults, std::back_inserter(out.defaults));
  }
  return out;
}

awaitable<Result<void>> LinuxKernel::run_nft(std::string text) {
  co_return co_await nft_.apply(std::move(text));
}

awaitable<Result<void>> LinuxKernel::apply_elements(std::vector<ElementChange> changes,
                                                    std::optional<std::uint64_t> expected) {
  auto done = co_await elements_.apply(std::move(changes), expected);
  if (!done) co_return std::unexpected(std::move(done.error()).context("changing set elements"));
  co_return done;
}

Result<void> LinuxKernel::apply(const NetlinkChange& change) {
  return std::move(apply_all(std::span(&change, 1)).front());
}

std::vector<Result<void>> LinuxKernel::apply_all(std::span<const NetlinkChange> changes) {
  std::vector<Result<void>> out(changes.size());
  std::vector<Message> messages;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (auto message = std::visit(Encoder{}, changes[i])) {
      messages.push_back(*message);
      places.push_back(i);
    } else {
      out[i] = std::unexpected(std::move(message.error()));
    }
  }
  auto answers = route_.requests(messages);
  for (std::size_t i = 0; i < answers.size(); ++i)
    out[places[i]] = std::move(answers[i]);
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = std::visit(Judge{std::move(out[i])}, changes[i]);
  return out;
}

}  // namespace oceanid::routing
