#pragma once
// The Linux kernel of the network namespace in which this object was made.
// Needs CAP_NET_ADMIN for changes and for asking nftables; reading rules, routes and links needs
// nothing.

#include "routing/edge/element_writer.hpp"
#include "routing/edge/kernel.hpp"
#include "routing/edge/netlink_socket.hpp"
#include "routing/edge/nft_runner.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::routing {

class LinuxKernel final : public Kernel {
 public:
  static Result<std::unique_ptr<LinuxKernel>> open(const asio::any_io_executor& executor,
                                                   NftOptions options = {});

  Result<Actual> read_actual() override;
  Result<std::vector<Route>> foreign_routes(const std::set<std::uint32_t>& tables) override;
  Result<void> apply(const NetlinkChange& change) override;
  std::vector<Result<void>> apply_all(std::span<const NetlinkChange> changes) override;
  Result<HostFacts> facts() override;
  Result<std::string> read_sysctl(const std::string& path) override;
  Result<void> write_sysctl(const std::string& path, const std::string& value) override;
  awaitable<Result<void>> run_nft(std::string text) override;
  awaitable<Result<void>> apply_elements(std::vector<ElementChange> changes,
                                         std::optional<std::uint64_t> expected = {}) override;

  // Packets that a named counter of our table has seen; not_found without the table.
  Result<std::uint64_t> counter_packets(std::string_view name);

  // Netlink port of our requests: what we cause carries it, so that a watcher can tell it apart.
  std::uint32_t port_id() const { return route_.port_id(); }
  // The same for changes of set elements. The generation that such a commit makes names the thread
  // it was made by as its process, not ours.
  std::uint32_t element_port_id() const { return elements_.port_id(); }
  // All those that write to nf_tables.
  std::vector<std::uint32_t> netfilter_ports() const {
    return {netfilter_.port_id(), elements_.port_id()};
  }
  // Called with the process id of every nft child before it can have committed anything.
  void set_on_nft_child(std::function<void(std::uint32_t)> told) {
    nft_.set_on_child(std::move(told));
  }

 private:
  LinuxKernel(NetlinkSocket route, NetlinkSocket netfilter, ElementWriter elements, NftRunner nft);

  static std::vector<Family> families();                   // that this kernel runs with
  Result<std::vector<LinkFacts>> read_links();             // links_linux.cpp
  Result<void> read_rules(Family family, Actual& actual);  // rules_linux.cpp
  Result<void> read_routes(Family family, const std::vector<LinkFacts>& links, Actual& actual);
  Result<std::vector<DefaultRoute>> read_defaults(Family family,  // routes_linux.cpp
                                                  const std::vector<LinkFacts>& links);
  static Result<NftActual> read_nft(NetlinkSocket& netfilter);  // nftables_linux.cpp

  NetlinkSocket route_;
  NetlinkSocket netfilter_;
  ElementWriter elements_;
  NftRunner nft_;
};

}  // namespace oceanid::routing
