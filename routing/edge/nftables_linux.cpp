// Which of our nft tables exist, asked one by one, and which rules: listing a ruleset with large
// sets takes most of a second (measured), these questions some microseconds.

#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/netlink_attributes.hpp"

#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

namespace oceanid::routing {
namespace {

struct TableFound {
  bool present = false;
  std::uint64_t stamp = 0;
};

Result<TableFound> find_table(NetlinkSocket& socket, std::uint8_t family, std::string_view name) {
  Message ask(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE), 0);
  auto& head = ask.extra<nfgenmsg>();
  head.nfgen_family = family;
  head.version = NFNETLINK_V0;
  ask.put_text(NFTA_TABLE_NAME, name);
  TableFound out;
  auto asked = socket.request(ask, [&](const nlmsghdr& message) {
    const auto attributes = Attributes::of(message, sizeof(nfgenmsg));
    out.present = true;
    // The handle is never used twice, the use count is the number of chains, sets and the like.
    out.stamp = attributes.be64(NFTA_TABLE_HANDLE).value_or(0) << 16 ^
                attributes.be32(NFTA_TABLE_USE).value_or(0);
  });
  if (!asked && asked.error().os_error != ENOENT)
    return std::unexpected(std::move(asked.error()).context("asking nftables"));
  return out;
}

// Of the rules that stand in our table: handles are never used twice either. A table that lost its
// rules (`nft flush table`) has as many chains as before and looks whole otherwise.
Result<std::uint64_t> rules_stamp(NetlinkSocket& socket, std::string_view table) {
  Message ask(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE), NLM_F_DUMP);
  auto& head = ask.extra<nfgenmsg>();
  head.nfgen_family = NFPROTO_INET;
  head.version = NFNETLINK_V0;
  ask.put_text(NFTA_RULE_TABLE, table);
  std::uint64_t stamp = 0;
  auto asked = socket.dump(
      ask, [&] { stamp = 0; },
      [&](const nlmsghdr& message) {
        const auto attributes = Attributes::of(message, sizeof(nfgenmsg));
        stamp = stamp * 31 + attributes.be64(NFTA_RULE_HANDLE).value_or(0);
      });
  if (!asked) return std::unexpected(std::move(asked.error()).context("asking nftables for rules"));
  return stamp;
}

}  // namespace

Result<std::uint64_t> LinuxKernel::counter_packets(std::string_view name) {
  Message ask(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ), 0);
  auto& head = ask.extra<nfgenmsg>();
  head.nfgen_family = NFPROTO_INET;
  head.version = NFNETLINK_V0;
  ask.put_text(NFTA_OBJ_TABLE, nft_table);
  ask.put_text(NFTA_OBJ_NAME, name);
  // Network order, as every number of nfnetlink.
  ask.put_u32(NFTA_OBJ_TYPE, htobe32(NFT_OBJECT_COUNTER));
  std::uint64_t packets = 0;
  auto asked = netfilter_.request(ask, [&](const nlmsghdr& message) {
    const auto attributes = Attributes::of(message, sizeof(nfgenmsg));
    packets = attributes.nested(NFTA_OBJ_DATA).be64(NFTA_COUNTER_PACKETS).value_or(0);
  });
  if (!asked) return std::unexpected(std::move(asked.error()).context("reading an nft counter"));
  return packets;
}

Result<NftActual> LinuxKernel::read_nft(NetlinkSocket& netfilter) {
  NftActual out;
  const struct {
    std::uint8_t family;
    std::string_view name;
    bool NftActual::* present;
  } questions[] = {{NFPROTO_INET, nft_table, &NftActual::inet},
                   {NFPROTO_IPV4, "oceanid_nat", &NftActual::ip_nat},
                   {NFPROTO_IPV6, "oceanid_nat", &NftActual::ip6_nat}};
  for (const auto& question : questions) {
    auto found = find_table(netfilter, question.family, question.name);
    if (!found && found.error().code == Errc::permission) return NftActual{};
    if (!found) return std::unexpected(std::move(found.error()));
    out.*question.present = found->present;
    out.stamp = out.stamp * 1000003 + found->stamp;  // any mixing that keeps the three apart
  }
  if (out.inet) {
    auto rules = rules_stamp(netfilter, nft_table);
    if (!rules) return std::unexpected(std::move(rules.error()));
    out.stamp = out.stamp * 1000003 + *rules;
  }
  auto offload = find_table(netfilter, NFPROTO_INET, offload_table);
  if (!offload) return std::unexpected(std::move(offload.error()));
  out.offload = offload->present;
  if (out.offload) {
    auto rules = rules_stamp(netfilter, offload_table);
    if (!rules) return std::unexpected(std::move(rules.error()));
    out.offload_stamp = offload->stamp * 1000003 + *rules;
  }
  out.known = true;
  return out;
}

}  // namespace oceanid::routing
