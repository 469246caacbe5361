// The table `inet oceanid_flow`: established connections between pods and an exit's tunnel skip the
// rule set (Documentation/networking/nf_flowtable.rst). A table of its own, because its devices
// must exist when it is made, and because the kernel may refuse it: the kill switch depends on
// neither.
//
// Why the kill switch holds for packets that no rule sees. An entry is made by a packet in original
// direction that our whole rule set has just let pass, and holds that packet's route: from then on
// it can carry packets between this device of pods and this tunnel, nowhere else. What is wrong
// about a stale entry is never the uplink, but at worst an exit that is no longer chosen. The
// kernel drops entries when a device goes down (flow_offload_netdev_event), when their route is no
// longer valid (dst_check: any change of rules, for IPv4 of any route, for IPv6 of their own) and
// when the entry in connection tracking is deleted. But kernels before 5.19 look at the route once
// a second or never, and none looks at sets: so whatever we change, the table is made anew after it
// (diff.hpp).
//
// Both directions were let pass: a connection is `assured` in connection tracking when TCP's
// handshake is complete, or UDP was answered and went on for two seconds. Reset and drained
// connections need rules, so after a switch there is no table until they are done.

#include "routing/core/nft_writer.hpp"
#include "routing/core/scene.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {

// Behind everybody's filters (0): what one of them refuses is never taken up.
std::string make_offload(const Scene& scene) {
  std::vector<IfName> pods;
  std::vector<IfName> tunnels;
  std::string hooked;
  std::string known;
  for (const FastDevice& device : scene.in.fast) {
    (device.pods ? pods : tunnels).push_back(device.name);
    // Frames that connection tracking has counted already would be counted twice.
    if (!device.tracked)
      hooked += fmt::format("{}\"{}\"", hooked.empty() ? "" : ", ", device.name.str());
    known += fmt::format("{}{} {}", known.empty() ? "" : ", ", device.name.str(), device.index);
  }
  if (!scene.steering || pods.empty() || tunnels.empty()) return {};
  const std::uint32_t carried = scene.marks.carried.value;
  return fmt::format(
      "table inet {0}\n"
      "delete table inet {0}\n"
      "table inet {0} {{\n"
      "  # {1}\n"
      "  flowtable fast {{\n"
      "    hook ingress priority filter; devices = {{ {2} }}; counter\n"
      "  }}\n\n"
      "  chain established {{\n"
      "    type filter hook forward priority filter + 10; policy accept;\n"
      "    iifname {3} oifname {4} ct direction original ct status assured "
      "ct mark & 0x{5:08x} == 0x{6:08x} meta l4proto {{ tcp, udp }} flow add @fast\n"
      "  }}\n"
      "}}\n",
      offload_table, known, hooked, names(pods), names(tunnels), carried | scene.marks.exempt.value,
      carried);
}

}  // namespace oceanid::routing::detail
