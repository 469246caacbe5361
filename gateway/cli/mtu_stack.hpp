#pragma once
// `oceanid mtu`: what each layer between the network card and a pod carries, which of them is wrong
// and the number that it is to have. Pure: facts in, a page of text out.

#include "gateway/base/net_types.hpp"
#include "gateway/ipc/snapshot.hpp"

#include <optional>
#include <string>
#include <vector>

namespace oceanid::cli {

struct LinkMtu {
  std::string name;
  unsigned mtu = 0;
  std::string below;          // the link that its packets leave by, where it is an overlay's
  Family outer = Family::v4;  // of an overlay's packets
};

// Of a host, as measured from here; bytes of an IP packet.
struct MeasuredPath {
  bool ipv4 = true;
  std::string address;
  std::string how;                // "ICMP echo" | "UDP"
  std::optional<unsigned> bytes;  // none: nobody answered
};

struct MtuFacts {
  std::string target;
  std::optional<LinkMtu> card;            // by which packets to the target leave
  std::optional<MeasuredPath> measured;   // a plain host
  std::optional<ipc::TunnelView> tunnel;  // a peer
  std::optional<unsigned> tunnel_link;    // what the kernel's link has
  bool ipv6_inside = false;               // the tunnel carries IPv6
  std::vector<LinkMtu> overlays;          // flannel.1 and its like
  std::vector<LinkMtu> pods;              // where pods' packets come from
};

struct MtuFinding {
  std::string layer;   // "nic" | "path" | "tunnel" | "overlay" | "pod"
  bool wrong = false;  // else advice
  std::string text;
};

std::vector<MtuFinding> judge_mtu(const MtuFacts& facts);
std::string mtu_text(const MtuFacts& facts);
std::string mtu_json(const MtuFacts& facts);

}  // namespace oceanid::cli
