#pragma once
// The Linux kernel of the network namespace in which this object was made.
// Needs CAP_NET_ADMIN for changes and for asking nftables; reading rules, routes and links needs
// nothing.

#include "routing/edge/kernel.hpp"
#include "routing/edge/netlink_socket.hpp"
#include "routing/edge/nft_runner.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::routing {

class LinuxKernel final : public Kernel {
 public:
  static Result<std::unique_ptr<LinuxKernel>> open(const asio::any_io_executor& executor,
                                                   NftOptions options = {});

  Result<Actual> read_actual() override;
  Result<void> apply(const NetlinkChange& change) override;
  Result<HostFacts> facts() override;
  Result<std::string> read_sysctl(const std::string& path) override;
  Result<void> write_sysctl(const std::string& path, const std::string& value) override;
  awaitable<Result<void>> run_nft(std::string text) override;

  // Packets that a named counter of our table has seen; not_found without the table.
  Result<std::uint64_t> counter_packets(std::string_view name);

  // Netlink port of our requests: what we cause carries it, so that a watcher can tell it apart.
  std::uint32_t port_id() const { return route_.port_id(); }

 private:
  LinuxKernel(NetlinkSocket route, NetlinkSocket netfilter, NftRunner nft);

  Result<std::vector<LinkFacts>> read_links();             // links_linux.cpp
  Result<void> read_rules(Family family, Actual& actual);  // rules_linux.cpp
  Result<void> read_routes(Family family, const std::vector<LinkFacts>& links, Actual& actual);
  Result<std::vector<DefaultRoute>> read_defaults(Family family,  // routes_linux.cpp
                                                  const std::vector<LinkFacts>& links);
  Result<NftActual> read_nft();  // nftables_linux.cpp

  NetlinkSocket route_;
  NetlinkSocket netfilter_;
  NftRunner nft_;
};

}  // namespace oceanid::routing
