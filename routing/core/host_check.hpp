#pragma once
// What about this host can get in our way, and what to do about it: `oceanid check --system`, and
// in part the start of `oceanid run`. The judgement is pure; edge/host_survey.hpp looks.

#include "gateway/base/net_types.hpp"
#include "routing/core/facts.hpp"
#include "routing/core/model.hpp"
#include "routing/core/overlay_link.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::routing {

// A policy rule that is not ours.
struct ForeignRule {
  Family family = Family::v4;
  std::uint32_t priority = 0;
  std::optional<Prefix> from;
  std::optional<IfName> iif;
  std::optional<Mark> mark;  // with the mask as it stands, all bits when none was given
  std::optional<std::uint32_t> table;
  bool inverted = false;
  bool narrow = false;  // matches on what no pod's packet has: an output device, a user, VRF
  bool operator==(const ForeignRule&) const = default;
};

// A routing table with routes that are not ours.
struct ForeignTable {
  std::uint32_t table = 0;
  bool has_default = false;
  bool operator==(const ForeignTable&) const = default;
};

enum class Firewall : std::uint8_t { plain, iptables, ufw, firewalld };

struct PortRange {
  bool udp = false;
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  bool operator==(const PortRange&) const = default;
};

// A base chain of another table that ends in a refusal, and what the table lets in by name.
struct ClosedChain {
  std::string family;  // "inet", "ip", "ip6"
  std::string table;
  std::string chain;
  std::string hook;  // "input", "forward", "output"
  Firewall kind = Firewall::plain;
  std::vector<PortRange> ports;
  std::vector<Prefix> sources;
  std::vector<std::string> interfaces;  // incoming
  bool operator==(const ClosedChain&) const = default;
};

// A foreign rule that tests or writes the packet's or the connection's mark.
struct MarkUse {
  std::string where;  // "ip mangle PREROUTING"
  std::uint32_t bits = 0;
  bool writes = false;
  bool operator==(const MarkUse&) const = default;
};

struct NftSurvey {
  std::vector<ClosedChain> closed;
  std::vector<MarkUse> marks;
  std::vector<std::string> early_nat;  // source translation before ours
  bool flannel_masquerade = false;
  bool operator==(const NftSurvey&) const = default;
};

struct Networkd {
  std::optional<bool> routes;  // ManageForeignRoutes and so on; none: not set, which means yes
  std::optional<bool> rules;
  std::optional<bool> next_hops;
  bool operator==(const Networkd&) const = default;
};

struct HostState {
  HostFacts facts;
  std::vector<OverlayLink> overlays;
  std::vector<ForeignRule> rules;
  std::vector<ForeignTable> tables;
  std::optional<NftSurvey> nft;      // none: not asked, or nft could not say
  bool legacy_iptables = false;      // rules that nft cannot show
  std::optional<Networkd> networkd;  // none: it does not run here
  std::map<std::string, std::string>
      sysctls;  // "net/ipv4/ip_forward" → "1"; a missing one is not there
  bool sysctls_writable = true;
  std::uint64_t memory_bytes = 0;
  std::map<std::string, bool> features;  // see host_check_kernel.cpp; a missing one was not tried
  std::optional<IpAddress> service_address;  // the cluster's API server as pods know it
};

enum class Severity : std::uint8_t { ok, warn, error };

struct Finding {
  Severity severity = Severity::ok;
  std::string topic;   // stable, for --json: "firewall", "rules", "tables", "marks", ...
  std::string what;    // one sentence
  std::string remedy;  // a command or a file to write; empty: none needed
  bool operator==(const Finding&) const = default;
};

// At least one finding for each topic that was looked at.
std::vector<Finding> judge_host(const Inputs& wanted, const HostState& host);

const char* to_string(Severity severity);

namespace detail {

using Findings = std::vector<Finding>;
void judge_firewalls(const Inputs& wanted, const HostState& host, Findings& out);
void judge_numbers(const Inputs& wanted, const HostState& host, Findings& out);
void judge_neighbours(const Inputs& wanted, const HostState& host, Findings& out);
void judge_kernel(const Inputs& wanted, const HostState& host, Findings& out);

}  // namespace detail
}  // namespace oceanid::routing
