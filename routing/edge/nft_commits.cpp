// The notices of nf_tables as values (linux/netfilter/nf_tables.h).

#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/nft_watcher.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

namespace oceanid::routing {
namespace {

// Every object names its table in its first attribute; `within` is the attribute of the chain, set
// or own name.
struct Meaning {
  bool added;
  NftObject kind;
  std::uint16_t within;
};

std::optional<Meaning> meaning_of(unsigned type) {
  switch (type) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_DELTABLE:
      return Meaning{type == NFT_MSG_NEWTABLE, NftObject::table, NFTA_TABLE_NAME};
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
      return Meaning{type == NFT_MSG_NEWCHAIN, NftObject::chain, NFTA_CHAIN_NAME};
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
      return Meaning{type == NFT_MSG_NEWRULE, NftObject::rule, NFTA_RULE_CHAIN};
    case NFT_MSG_NEWSET:
    case NFT_MSG_DELSET:
      return Meaning{type == NFT_MSG_NEWSET, NftObject::set, NFTA_SET_NAME};
    case NFT_MSG_NEWSETELEM:
    case NFT_MSG_DELSETELEM:
      return Meaning{type == NFT_MSG_NEWSETELEM, NftObject::element, NFTA_SET_ELEM_LIST_SET};
    case NFT_MSG_NEWOBJ:
    case NFT_MSG_DELOBJ:
      return Meaning{type == NFT_MSG_NEWOBJ, NftObject::object, NFTA_OBJ_NAME};
    case NFT_MSG_NEWFLOWTABLE:
    case NFT_MSG_DELFLOWTABLE:
      return Meaning{type == NFT_MSG_NEWFLOWTABLE, NftObject::flowtable, NFTA_FLOWTABLE_NAME};
    default:
      return std::nullopt;
  }
}
static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 &&
              NFTA_SET_TABLE == 1 && NFTA_SET_ELEM_LIST_TABLE == 1 && NFTA_OBJ_TABLE == 1 &&
              NFTA_FLOWTABLE_TABLE == 1);

std::string_view family_name(std::uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_NETDEV:
      return "netdev";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_ARP:
      return "arp";
    default:
      return "other";
  }
}

}  // namespace

std::optional<NftCommit> NftCommits::take(const nlmsghdr& message) {
  if (message.nlmsg_type >> 8U != NFNL_SUBSYS_NFTABLES ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(nfgenmsg))
    return std::nullopt;
  const unsigned type = message.nlmsg_type & 0xffU;
  const auto attributes = Attributes::of(message, sizeof(nfgenmsg));
  if (type == NFT_MSG_NEWGEN) {
    NftCommit out;
    out.generation = attributes.be32(NFTA_GEN_ID).value_or(0);
    out.port = message.nlmsg_pid;
    out.culprit = {attributes.text(NFTA_GEN_PROC_NAME),
                   attributes.be32(NFTA_GEN_PROC_PID).value_or(0)};
    out.touches = std::exchange(touches_, {});
    return out;
  }
  const auto meaning = meaning_of(type);
  if (!meaning) return std::nullopt;
  const std::string table = attributes.text(NFTA_TABLE_NAME);
  if (!is_our_table(table)) return std::nullopt;
  std::string within = attributes.text(meaning->within);
  // A set written inside a rule is one of these; the rule tells enough.
  if (within.starts_with("__")) return std::nullopt;
  const auto& head = *static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&message));
  const std::string full = fmt::format("{} {}", family_name(head.nfgen_family), table);
  if (meaning->kind == NftObject::table) within = full;
  merge(touches_, NftTouch{.added = meaning->added,
                           .kind = meaning->kind,
                           .table = full,
                           .within = std::move(within)});
  return std::nullopt;
}

void NftCommits::lost() {
  touches_.clear();
}

void NftWriters::started(std::uint32_t pid, DriftClock::time_point now) {
  std::erase_if(children_, [&](const Child& child) {
    return child.pid == pid || now - child.started > memory;
  });
  children_.push_back(Child{pid, now});
}

// libmnl lets the kernel choose the port, which is the process id as its own namespace counts, as
// long as that is free; the generation message carries the id as the first namespace counts. In a
// container the two differ and we know only the first.
bool NftWriters::wrote(const NftCommit& commit, DriftClock::time_point now) {
  if (std::ranges::find(ports_, commit.port) != ports_.end()) return true;
  const auto child = std::ranges::find_if(children_, [&](const Child& one) {
    return now - one.started <= memory && (one.pid == commit.port || one.pid == commit.culprit.pid);
  });
  if (child == children_.end()) return false;
  children_.erase(child);
  return true;
}

}  // namespace oceanid::routing
