// The table `inet oceanid_flow`: established connections between pods and an exit's tunnel, and on
// an exit between its clients and the uplink, skip the rule set
// (Documentation/networking/nf_flowtable.rst). A table of its own, because its devices
// must exist when it is made, and because the kernel may refuse it: the kill switch depends on
// neither.
//
// Why the kill switch holds for packets that no rule sees. An entry is made by a packet in original
// direction that our whole rule set has just let pass, and holds that packet's route: from then on
// it can carry packets between this device of pods and this tunnel, nowhere else. What is wrong
// about a stale entry is never the uplink, but at worst an exit that is no longer chosen. What goes
// by an uplink is taken up only when it is translated: the entry holds the translation, so that no
// packet of it leaves with another source than the exit's. The
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
namespace {

using Kind = FastDevice::Kind;

std::vector<IfName> of_kind(const Scene& scene, Kind kind) {
  std::vector<IfName> out;
  for (const FastDevice& device : scene.in.fast)
    if (device.kind == kind) out.push_back(device.name);
  return out;
}

// Empty unless there are devices on both sides.
std::string taken_up(const Scene& scene, const std::vector<IfName>& from,
                     const std::vector<IfName>& to, std::string_view status) {
  if (from.empty() || to.empty()) return {};
  const std::uint32_t carried = scene.marks.carried.value;
  return fmt::format(
      "    iifname {} oifname {} ct direction original {} ct mark & 0x{:08x} == 0x{:08x} "
      "meta l4proto {{ tcp, udp }} flow add @fast\n",
      names(from), names(to), status, carried | scene.marks.exempt.value, carried);
}

}  // namespace

// Behind everybody's filters (0): what one of them refuses is never taken up.
std::string make_offload(const Scene& scene) {
  std::string hooked;
  std::string known;
  for (const FastDevice& device : scene.in.fast) {
    // Frames that connection tracking has counted already would be counted twice.
    if (!device.tracked)
      hooked += fmt::format("{}\"{}\"", hooked.empty() ? "" : ", ", device.name.str());
    known += fmt::format("{}{} {}", known.empty() ? "" : ", ", device.name.str(), device.index);
  }
  const auto pods = scene.steering ? of_kind(scene, Kind::pods) : std::vector<IfName>();
  auto inside = of_kind(scene, Kind::hub);
  if (scene.has_self) inside.insert(inside.end(), pods.begin(), pods.end());
  const std::string rules =
      taken_up(scene, pods, of_kind(scene, Kind::exit), "ct status assured") +
      taken_up(scene, inside, of_kind(scene, Kind::uplink), "ct status assured ct status snat");
  if (rules.empty()) return {};
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
      "{3}"
      "  }}\n"
      "}}\n",
      offload_table, known, hooked, rules);
}

}  // namespace oceanid::routing::detail
