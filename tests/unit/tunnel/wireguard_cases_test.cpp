// The cases of WireGuard's own test script (tools/testing/selftests/wireguard/netns.sh), adapted to
// tunnels that the manager keeps: sizes and padding, roaming, NAT that forgets, crypto routing,
// preshared keys, and WireGuard in WireGuard. A change of keys is in rotation_nodes_test.cpp.

#include "gateway/base/runtime/state_file.hpp"
#include "two_nodes.hpp"

#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Node;
using testing::OnBackend;

// A dials B; B has no endpoint for A and learns it from what arrives. B's way to A is its hub.
class WireGuardCases : public OnBackend, public ::testing::WithParamInterface<BackendChoice> {
 protected:
  WireGuardCases() : OnBackend(GetParam()) {}

  void only_a_dials() {
    reconfigure([](TunnelManager::Wanted& wanted, bool is_a) {
      if (is_a) return;
      wanted.settings.peers.front().endpoint.reset();
      wanted.exits.clear();
    });
  }
  // Its MTU is the whole path's, too.
  bool a_is_up() {
    return eventually(20s, [&] {
      auto view = a_->status()["oc-b"];
      return view.echo == "up" && view.mtu == 1440;
    });
  }
  static int ping(const Node& from, const std::string& arguments) {
    return from.run("ping -q " + arguments + " >/dev/null 2>&1");
  }
  bool ping_passes(const Node& from, const std::string& to, std::chrono::seconds limit) {
    return eventually(limit, [&] { return ping(from, "-c 1 -W 1 " + to) == 0; });
  }
  // Whether a counter of the table "watch" has counted.
  static bool counted(const Node& node, const std::string& counter) {
    return node.run("nft list counter inet watch " + counter + " | grep -q 'packets [1-9]'") == 0;
  }
};

INSTANTIATE_TEST_SUITE_P(Backend, WireGuardCases,
                         ::testing::Values(BackendChoice::userspace, BackendChoice::kernel),
                         [](const auto& info) {
                           return info.param == BackendChoice::kernel ? "kernel" : "userspace";
                         });

// Content is padded to 16 bytes, but never above the MTU, which 1299 would be if it were rounded
// up: the largest packets make outer ones of 1359 bytes, A's from its dialled link and B's from its
// hub.
TEST_P(WireGuardCases, PaddingNeverExceedsTheMtu) {
  only_a_dials();
  reconfigure([](TunnelManager::Wanted& wanted, bool) { wanted.settings.mtu = 1299; });
  ASSERT_TRUE(eventually(20s, [&] {
    auto view = a_->status()["oc-b"];
    return view.echo == "up" && view.mtu == 1299;
  })) << a_->command("status");
  for (const Node* node : {a_.get(), b_.get()}) {
    const std::string ours = node == a_.get() ? "udp sport 51820" : "udp dport 51820";
    ASSERT_EQ(node->run("nft -f - <<'N'\n"
                        "table inet watch {\n"
                        "  counter full { }\n  counter larger { }\n  counter fragments { }\n"
                        "  chain in {\n"
                        "    type filter hook prerouting priority -450; policy accept;\n"
                        "    iifname link0 ip frag-off & 0x3fff != 0 counter name fragments\n"
                        "    iifname link0 " +
                        ours +
                        " ip length 1359 counter name full\n"
                        "    iifname link0 " +
                        ours +
                        " ip length > 1359 counter name larger\n"
                        "  }\n}\nN"),
              0);
  }
  for (int size = 1299; size > 1299 - 17; --size) {  // of the inner packet
    const std::string asked = "-M do -c 1 -W 3 -s " + std::to_string(size - 28) + " 10.99.0.";
    EXPECT_EQ(ping(*a_, asked + "2"), 0) << size;
    EXPECT_EQ(ping(*b_, asked + "1"), 0) << size;
  }
  const std::string too_large = "-M do -c 1 -W 1 -s " + std::to_string(1300 - 28) + " 10.99.0.";
  EXPECT_NE(ping(*a_, too_large + "2"), 0);
  EXPECT_NE(ping(*b_, too_large + "1"), 0);
  for (const Node* node : {a_.get(), b_.get()}) {
    EXPECT_TRUE(counted(*node, "full"));
    EXPECT_FALSE(counted(*node, "larger"));
    EXPECT_FALSE(counted(*node, "fragments"));
  }
}

// A's address changes; nobody tells B, whose answers follow what arrives.
TEST_P(WireGuardCases, ADiallerThatRoamsIsFollowed) {
  only_a_dials();
  ASSERT_TRUE(a_is_up()) << a_->command("status") << b_->command("status");
  ASSERT_EQ(a_->run("ip address add 192.0.2.111/24 dev link0 && "
                    "ip address delete 192.0.2.1/24 dev link0"),
            0);
  if (a_->run("ip -4 address show dev link0 | grep -q 192.0.2.111") != 0)  // it was a secondary one
    ASSERT_EQ(a_->run("ip address add 192.0.2.111/24 dev link0"), 0);
  EXPECT_TRUE(ping_passes(*a_, "10.99.0.2", 10s)) << a_->command("status");
  EXPECT_TRUE(ping_passes(*b_, "10.99.0.1", 5s)) << "B's own packets find it, too";
  EXPECT_TRUE(eventually(5s, [&] { return a_->status()["oc-b"].echo == "up"; }));
}

// A third node between the two translates A's address and forgets after two seconds; keepalives
// each second keep the way from B to A open.
TEST_P(WireGuardCases, KeepalivesHoldAShortLivedTranslation) {
  only_a_dials();
  ASSERT_TRUE(a_is_up());
  a_->kill_manager();
  b_->kill_manager();
  ASSERT_EQ(a_->run("ip link delete link0"), 0);
  const Node router(folder_ + "/router", {});
  testing::link({router, "outside", "192.0.2.1/24"}, {*b_, "link0", "192.0.2.2/24"});
  testing::link({*a_, "link0", "198.51.100.1/24"}, {router, "inside", "198.51.100.2/24"});
  ASSERT_EQ(
      router.run("sysctl -qw net.ipv4.ip_forward=1 && "
                 "nft 'table ip nat { chain post { type nat hook postrouting priority srcnat; "
                 "oifname outside masquerade; }; }' && "
                 "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=2 "
                 "net.netfilter.nf_conntrack_udp_timeout_stream=2"),
      0);
  ASSERT_EQ(a_->run("ip route add default via 198.51.100.2"), 0);
  ASSERT_NE(b_->run("ip route get 198.51.100.1 >/dev/null 2>&1"), 0) << "only the router knows A";
  b_->start();
  a_->start();
  ASSERT_TRUE(a_is_up()) << a_->command("status");
  // Nothing of ours but the keepalives: A's manager, which asks for echoes, is gone.
  a_->kill_manager();
  std::this_thread::sleep_for(7s);
  EXPECT_EQ(ping(*b_, "-c 1 -W 2 10.99.0.1"), 0) << "B speaks first, after three lifetimes";
}

// What a peer may send is what its allowed addresses say, whoever it claims to be.
TEST_P(WireGuardCases, AForeignSourceDoesNotComeOutOfTheTunnel) {
  only_a_dials();
  ASSERT_TRUE(a_is_up());
  ASSERT_EQ(a_->run("ip address add 10.99.0.77/32 dev oc-b"), 0);
  ASSERT_EQ(b_->run("nft -f - <<'N'\n"
                    "table inet watch {\n  counter known { }\n  counter foreign { }\n"
                    "  chain in {\n"
                    "    type filter hook prerouting priority -450; policy accept;\n"
                    "    iifname oc-hub ip saddr 10.99.0.1 ip protocol icmp counter name known\n"
                    "    iifname oc-hub ip saddr 10.99.0.77 counter name foreign\n"
                    "  }\n}\nN"),
            0);
  EXPECT_NE(ping(*a_, "-c 3 -i 0.2 -W 1 -I 10.99.0.77 10.99.0.2"), 0);
  EXPECT_EQ(ping(*a_, "-c 1 -W 2 -I 10.99.0.1 10.99.0.2"), 0);
  EXPECT_TRUE(counted(*b_, "known"));
  EXPECT_FALSE(counted(*b_, "foreign"));
  // And nobody is sent what nobody may receive: no peer has that address.
  ASSERT_EQ(a_->run("ip route add 10.99.0.99/32 dev oc-b"), 0);
  EXPECT_NE(ping(*a_, "-c 1 -W 1 10.99.0.99"), 0);
}

// C behind A and D behind B have a tunnel that goes through the one of A and B, and find its MTU.
TEST_P(WireGuardCases, OneTunnelGoesThroughAnother) {
  reconfigure([](TunnelManager::Wanted& wanted, bool is_a) {
    PeerSettings& peer = wanted.settings.peers.front();
    peer.networks = {Prefix::parse(is_a ? "203.0.113.0/24" : "198.51.100.0/24").value()};
    if (is_a) return;
    peer.endpoint.reset();
    wanted.exits.clear();
  });
  ASSERT_TRUE(a_is_up()) << a_->command("status") << b_->command("status");
  const PublicKey key_c = make_key("c");
  const PublicKey key_d = make_key("d");
  Node c(folder_ + "/c", wanted("10.98.0.1", "d", key_d, "10.98.0.2", "203.0.113.2"));
  Node d(folder_ + "/d", wanted("10.98.0.2", "c", key_c, "10.98.0.1", "198.51.100.2"));
  testing::link({*a_, "link1", "198.51.100.1/24"}, {c, "link0", "198.51.100.2/24"});
  testing::link({*b_, "link1", "203.0.113.1/24"}, {d, "link0", "203.0.113.2/24"});
  const std::string forward = "sysctl -qw net.ipv4.ip_forward=1 && ip route add ";
  ASSERT_EQ(a_->run(forward + "203.0.113.0/24 dev oc-b"), 0);
  ASSERT_EQ(b_->run(forward + "198.51.100.0/24 dev oc-hub"), 0);
  ASSERT_EQ(c.run("ip route add default via 198.51.100.1"), 0);
  ASSERT_EQ(d.run("ip route add default via 203.0.113.1"), 0);
  c.start();
  d.start();
  // 1440 of the outer tunnel, less 60, down to a multiple of 16.
  EXPECT_TRUE(eventually(
      30s, [&] { return c.status()["oc-d"].mtu == 1376 && d.status()["oc-c"].mtu == 1376; }))
      << c.command("status") << d.command("status");
  EXPECT_TRUE(ping_passes(c, "-M do -s 1348 10.98.0.2", 10s)) << "1376 bytes";
  EXPECT_FALSE(ping_passes(c, "-M do -s 1349 10.98.0.2", 1s));
}

// Both sides need the same one: with two no session stands, in whichever direction it is dialled.
TEST_P(WireGuardCases, OnlyTheSamePresharedKeyCarriesAnything) {
  ASSERT_TRUE(both_up());
  const auto write_key = [&](const std::string& name) {
    const std::string path = folder_ + "/" + name;
    const auto text = generate_preshared_key().value().reveal_base64() + "\n";
    EXPECT_TRUE(write_file_atomically(path, text, 0600));
    return path;
  };
  const std::string key = write_key("psk");
  const std::string other = write_key("another.psk");
  reconfigure([&](TunnelManager::Wanted& wanted, bool is_a) {
    wanted.settings.peers.front().preshared_key_file = is_a ? key : other;
    // Sessions made without one would go on until their keys are renewed.
    EXPECT_EQ((is_a ? a_ : b_)->run("for d in oc-a oc-b oc-hub; do ip link del $d; done 2>&-; :"),
              0);
  });
  const auto any = [&](const auto& holds) {
    for (Node* node : {a_.get(), b_.get()})
      for (const auto& [name, view] : node->status())
        if (holds(view)) return true;
    return false;
  };
  ASSERT_TRUE(eventually(10s, [&] {
    return a_->status()["oc-b"].sent > 0 && b_->status()["oc-a"].sent > 0;
  })) << a_->command("status");
  EXPECT_FALSE(eventually(7s,
                          [&] {  // longer than WireGuard's pause between two handshakes
                            return any([](const auto& view) {
                              return view.handshake_age >= 0 || view.answered > 0;
                            });
                          }))
      << a_->command("status") << b_->command("status");
  b_->kill_manager();
  b_->wanted.settings.peers.front().preshared_key_file = key;
  b_->start();
  EXPECT_TRUE(both_up()) << a_->command("status") << b_->command("status");
}

}  // namespace
}  // namespace oceanid::tunnel
