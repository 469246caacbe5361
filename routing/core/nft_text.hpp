#pragma once
// The parts of the nft table, one group of chains each. Internal to routing/core.

#include "routing/core/nft_writer.hpp"

namespace oceanid::routing::detail {

inline constexpr std::string_view refuse_leak =
    "counter name leak_blocked reject with icmpx admin-prohibited";

struct NftParts {
  const Scene& scene;
  NftWriter& out;

  void declare_sets();
  void marks();       // prerouting, and inbound connections
  void select();      // who takes which exit
  void exempt();      // destinations without an exit that are too many for rules
  void reply_path();  // output: what we answer to clients on behalf of others
  void forward();     // kill switch for pods, ingress of tunnels, limits of the exit
  void input();       // ingress of tunnels, our listeners' clients
  void output();      // kill switch for the node's own tunnel sources
  void errors_of_carried();
  void failsafes_in();  // first in the chains that see the node's own packets
  void failsafes_out();
  void failsafes_last();
  void mss();
  void translation();  // identity and exit source NAT
  void last_line();
  void transport();  // other ports that peers may dial
  void redirects();  // of the overlay: nobody is told of a shorter way
  void intercept();  // towards transparent listeners, and nothing around them

  std::string set_bit(const Mark& bit, bool connection) const;
  std::string has_bit(const Mark& bit, bool connection) const;
  std::string clear_bit(const Mark& bit, bool connection) const;
  std::string is_taken(bool connection) const;

 private:
  void marks_of_pods();
  void marks_of_clients();
  void carry_original();
  void carry_answers();
  std::vector<std::string> reset_segments();
  void left_behind();  // resets after a switch
  void carried_on();   // what nearly every forwarded packet is: cheaper lines for it
  void answers();
  std::vector<IpAddress> seen_with() const;
  void carries_exits_address();
  void declare_spills(const SnatList& list);
  void from_pods();
  void pinned();
  std::string destinations_of(std::size_t index) const;
  std::vector<std::string> fitting(std::size_t index) const;
  void cluster_paths();
  void to_cluster();
  void exempt_paths();
  void refuse_translated();
  void beyond_the_cluster();
  void from_tunnel();
  void into_tunnel();
  void overlay_by_uplink();
  void relay();
  void overlay_identity();
  bool overlay_may_leak() const { return !scene.overlay.empty() && !scene.uplinks.empty(); }
  void tunnel_ingress();
  void known_peers();
  void exit_limits();
  void client_limit();
  void listeners();
  void take_over();
  void untaken(std::string_view answers);
  void refuse_around();
  std::string intercepted_from() const;
  std::vector<std::string> taken(const Interception& one, std::string_view protocol) const;
};

}  // namespace oceanid::routing::detail
