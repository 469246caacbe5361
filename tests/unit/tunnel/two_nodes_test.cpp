// Two nodes with wireguard-go in network namespaces: they dial each other, lose daemons and links,
// and restart. Not run (with the reason) only without root or /dev/net/tun.

#include "two_nodes.hpp"

#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/daemon.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <unistd.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using testing::eventually;
using testing::Node;
using testing::OnBackend;

long long milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
}

std::uint64_t write_calls(pid_t pid) {
  std::ifstream io("/proc/" + std::to_string(pid) + "/io");
  std::uint64_t value = 0;
  for (std::string name; io >> name >> value;)
    if (name == "syscw:") return value;
  return 0;
}

class TwoNodes : public OnBackend, public ::testing::WithParamInterface<BackendChoice> {
 protected:
  TwoNodes() : OnBackend(GetParam()) {}
};

class TwoDaemons : public OnBackend {
 protected:
  TwoDaemons() : OnBackend(BackendChoice::userspace) {}
};

INSTANTIATE_TEST_SUITE_P(Backend, TwoNodes,
                         ::testing::Values(BackendChoice::userspace, BackendChoice::kernel),
                         [](const auto& info) {
                           return info.param == BackendChoice::kernel ? "kernel" : "userspace";
                         });

TEST_P(TwoNodes, DialEachOtherAndBothSessionsStand) {
  ASSERT_TRUE(both_up()) << a_->command("status") << b_->command("status");
  for (Node* node : {a_.get(), b_.get()}) {
    EXPECT_TRUE(eventually(5s, [&] { return node->status()["oc-hub"].handshake_age >= 0; }))
        << "the far side's session arrives at the hub";
    EXPECT_EQ(node->status()[node == a_.get() ? "oc-b" : "oc-a"].mtu, 1440U);
  }
}

// Both sessions have the same pair of static keys. A new handshake of one must not end the other:
// while A's is renewed again and again, B loses not a single echo of its own.
TEST_P(TwoNodes, HandshakesOfTheTwoSessionsDoNotDisturbEachOther) {
  ASSERT_TRUE(both_up());
  const auto lost = [&] {
    const auto view = b_->status()["oc-a"];
    return view.sent - view.answered;
  };
  // One question may be on its way when we look; those before the first answer were lost at start.
  ASSERT_TRUE(eventually(5s, [&] { return b_->status()["oc-a"].answered >= 5; }));
  const std::uint64_t lost_before = lost();
  const std::uint64_t answered_before = b_->status()["oc-a"].answered;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(eventually(5s, [&] { return a_->command("force b") == "ok"; }));
    ASSERT_TRUE(eventually(5s, [&] { return a_->status()["oc-b"].echo == "up"; }));
  }
  EXPECT_TRUE(
      eventually(10s, [&] { return b_->status()["oc-a"].answered >= answered_before + 40; }));
  EXPECT_LE(lost(), lost_before + 1);
  EXPECT_EQ(b_->status()["oc-a"].echo, "up");
}

TEST_P(TwoNodes, AForcedHandshakeIsLimitedToTwoASecond) {
  ASSERT_TRUE(both_up());
  // The manager itself may have forced one while the tunnel came up.
  EXPECT_TRUE(eventually(5s, [&] { return a_->command("force b") == "ok"; }));
  EXPECT_NE(a_->command("force b").find("less than half a second ago"), std::string::npos);
  EXPECT_NE(a_->command("force nobody"), "ok");
}

TEST_F(TwoDaemons, AKilledDaemonIsReplaced) {
  ASSERT_TRUE(both_up());
  const auto before = a_->daemon("oc-b");
  ASSERT_TRUE(before);
  const auto begin = Clock::now();
  ASSERT_EQ(::kill(*before, SIGKILL), 0);
  ASSERT_TRUE(eventually(10s, [&] {
    const auto now = a_->daemon("oc-b");
    return now && now != before && a_->status()["oc-b"].present;
  }));
  RecordProperty("daemon_replaced_ms", std::to_string(milliseconds_since(begin)));
  const std::uint64_t answered = a_->status()["oc-b"].answered;
  ASSERT_TRUE(eventually(10s, [&] { return a_->status()["oc-b"].answered > answered + 3; }))
      << a_->command("status");
  RecordProperty("echo_again_ms", std::to_string(milliseconds_since(begin)));
}

TEST_P(TwoNodes, ADeletedLinkIsMadeAgain) {
  ASSERT_TRUE(both_up());
  ASSERT_EQ(a_->run("ip link delete oc-b"), 0);
  ASSERT_TRUE(eventually(10s, [&] { return a_->run("ip link show oc-b >/dev/null 2>&1") == 0; }));
  const std::uint64_t answered = a_->status()["oc-b"].answered;
  EXPECT_TRUE(eventually(10s, [&] { return a_->status()["oc-b"].answered > answered + 3; }));
}

TEST_F(TwoDaemons, ADaemonThatNoLongerAnswersIsReplaced) {
  ASSERT_TRUE(both_up());
  const auto before = a_->daemon("oc-b");
  ASSERT_EQ(::kill(*before, SIGSTOP), 0);
  EXPECT_TRUE(eventually(5s, [&] { return a_->status()["oc-b"].echo == "down"; }));
  EXPECT_TRUE(eventually(30s, [&] {
    const auto now = a_->daemon("oc-b");
    return now && now != before && a_->status()["oc-b"].echo == "up";
  })) << a_->command("status");
  EXPECT_FALSE(identify(*before));
}

// The configuration is applied again while one daemon is stuck: the other tunnels are there all the
// time, or every reload would be a failover.
TEST_F(TwoDaemons, AReloadDoesNotTakeTheOtherTunnelsAway) {
  ASSERT_TRUE(both_up());
  ASSERT_EQ(::kill(*a_->daemon("oc-b"), SIGSTOP), 0);
  ASSERT_EQ(a_->command("apply"), "ok");
  bool there = true;
  EXPECT_TRUE(eventually(20s, [&] {
    there = there && a_->status()["oc-hub"].present;
    return a_->command("applies") == "1";
  }));
  EXPECT_TRUE(there);
}

TEST_F(TwoDaemons, ARestartAdoptsTheRunningDaemons) {
  ASSERT_TRUE(both_up());
  const auto dialled = a_->daemon("oc-b");
  const auto hub = a_->daemon("oc-hub");
  const auto before = a_->status()["oc-b"];
  a_->kill_manager();
  a_->start();
  ASSERT_TRUE(both_up());
  EXPECT_EQ(a_->daemon("oc-b"), dialled);
  EXPECT_EQ(a_->daemon("oc-hub"), hub);
  const auto after = a_->status()["oc-b"];
  EXPECT_GE(after.rx_bytes, before.rx_bytes) << "the session's counters go on";
  EXPECT_GE(after.handshake_age, before.handshake_age) << "no new handshake was needed";
}

// The kernel shows twice what was asked for, and gives no more than net.core.rmem_max unasked.
TEST_P(TwoNodes, SocketsForBurstsHaveRoomForThem) {
  ASSERT_TRUE(both_up());
  const auto room = [&](const std::string& filter, int least) {
    return eventually(5s, [&] {
      return a_->run("ss -Hnuam '" + filter + "' | tr -d '\\n' | grep -o 'rb[0-9]*' | " +
                     "sort -u | awk -v n=" + std::to_string(least) +
                     " '{ low += substr($0, 3) + 0 < n } END { exit NR == 0 || low }'") == 0;
    });
  };
  constexpr int one_mebibyte = 2 << 20;
  EXPECT_TRUE(room("sport = :51821 src 0.0.0.0", one_mebibyte)) << "of the path's probes";
  if (GetParam() == BackendChoice::kernel) return;  // it has no such queue
  EXPECT_TRUE(room("sport = :51820", one_mebibyte)) << "of wireguard-go";
}

TEST_F(TwoDaemons, TheProgramOfTheConfigurationIsTheOneThatRuns) {
  ASSERT_TRUE(both_up());
  const std::string copy = folder_ + "/another-wireguard-go";
  ASSERT_EQ(a_->run("cp \"$(command -v wireguard-go)\" " + copy), 0);
  a_->kill_manager();
  ASSERT_EQ(a_->run("ip link del oc-b; ip link del oc-hub"), 0);
  a_->wanted.settings.wireguard_go = copy;
  a_->start();
  ASSERT_TRUE(both_up()) << a_->command("status");
  for (const char* device : {"oc-b", "oc-hub"})
    EXPECT_EQ(
        std::filesystem::read_symlink("/proc/" + std::to_string(*a_->daemon(device)) + "/exe"),
        copy);
  EXPECT_NE(std::filesystem::read_symlink("/proc/" + std::to_string(*b_->daemon("oc-a")) + "/exe"),
            copy);
}

TEST_P(TwoNodes, IPv6InsideAndOutside) {
  reconfigure([](TunnelManager::Wanted& wanted, bool is_a) {
    wanted.settings.addresses = {*IpAddress::parse(is_a ? "2001:db8:99::1" : "2001:db8:99::2")};
    PeerSettings& peer = wanted.settings.peers.front();
    peer.addresses = {*IpAddress::parse(is_a ? "2001:db8:99::2" : "2001:db8:99::1")};
    peer.endpoint = HostPort{is_a ? "2001:db8::2" : "2001:db8::1", 51820};
  });
  ASSERT_TRUE(both_up()) << a_->command("status") << b_->command("status");
  EXPECT_EQ(a_->status()["oc-b"].mtu, 1408U);
}

// A's link gets narrower: its own probes are refused, what comes to it gets lost without a word.
TEST_P(TwoNodes, TheMtuFollowsThePathOnBothSidesAndIsRemembered) {
  ASSERT_TRUE(both_up());
  const auto everywhere = [&](unsigned mtu) {
    auto a = a_->status();
    auto b = b_->status();
    return a["oc-b"].mtu == mtu && a["oc-hub"].mtu == mtu && b["oc-a"].mtu == mtu &&
           b["oc-hub"].mtu == mtu;
  };
  ASSERT_TRUE(everywhere(1440));
  ASSERT_EQ(a_->run("ip link set link0 mtu 1400"), 0);
  EXPECT_TRUE(eventually(30s, [&] { return everywhere(1328); }))
      << a_->command("status") << b_->command("status");
  a_->kill_manager();
  ASSERT_EQ(a_->run("ip link set link0 mtu 1500"), 0);
  a_->start();
  ASSERT_TRUE(eventually(10s, [&] { return a_->status()["oc-b"].mtu != 0; }));
  EXPECT_EQ(a_->status()["oc-b"].mtu, 1328U) << "what was found before";
  EXPECT_TRUE(eventually(30s, [&] { return everywhere(1440); }))
      << a_->command("status") << b_->command("status");
}

TEST_P(TwoNodes, ANameIsDialledOnceItIsResolvedAndRememberedForTheNextStart) {
  a_->kill_manager();
  a_->wanted.settings.peers.front().endpoint = HostPort{"b.example.test", 51820};
  a_->wanted.settings.peers.front().name = "named";
  a_->wanted.exits.front().peer = "named";
  a_->start();
  ASSERT_TRUE(eventually(10s, [&] { return a_->status()["oc-named"].present; }));
  EXPECT_NE(a_->status()["oc-named"].reason.find("no address yet"), std::string::npos);
  EXPECT_EQ(a_->command("names"), "b.example.test ");
  EXPECT_EQ(a_->command("resolved b.example.test 192.0.2.2"), "ok");
  ASSERT_TRUE(eventually(10s, [&] { return a_->status()["oc-named"].usable; }));
  ASSERT_EQ(a_->command("remove"), "ok");
  a_->kill_manager();
  a_->start();
  EXPECT_TRUE(eventually(10s, [&] { return a_->status()["oc-named"].usable; }))
      << a_->command("status");
}

TEST_P(TwoNodes, ARestartKeepsTheSessions) {
  ASSERT_TRUE(both_up());
  const auto before = a_->status()["oc-b"];
  a_->kill_manager();
  a_->start();
  ASSERT_TRUE(both_up());
  const auto after = a_->status()["oc-b"];
  EXPECT_GE(after.rx_bytes, before.rx_bytes) << "the session's counters go on";
  EXPECT_GE(after.handshake_age, before.handshake_age) << "no new handshake was needed";
}

TEST_P(TwoNodes, ARestartWithAnotherKeyUsesIt) {
  ASSERT_TRUE(both_up());
  a_->kill_manager();
  std::filesystem::remove(folder_ + "/a/private.key");
  b_->wanted.settings.peers.front().public_key = make_key("a").to_base64();
  a_->start();
  EXPECT_TRUE(eventually(10s, [&] { return a_->status()["oc-b"].echo == "down"; }))
      << "b still expects the former key";
  b_->kill_manager();
  b_->start();
  EXPECT_TRUE(both_up()) << a_->command("status") << b_->command("status");
}

TEST_F(TwoDaemons, AnAdoptedDaemonIsStillReplacedWhenItDies) {
  ASSERT_TRUE(both_up());
  const auto before = a_->daemon("oc-b");
  a_->kill_manager();
  a_->start();
  ASSERT_TRUE(both_up());
  ASSERT_EQ(a_->daemon("oc-b"), before);
  ASSERT_EQ(::kill(*before, SIGKILL), 0);
  EXPECT_TRUE(eventually(10s, [&] {
    const auto now = a_->daemon("oc-b");
    return now && now != before && a_->status()["oc-b"].present;
  }));
}

// A Go program that writes to a broken pipe as its standard error is ended by SIGPIPE.
TEST_F(TwoDaemons, ADaemonOutlivesUsEvenWhenItComplains) {
  ASSERT_TRUE(both_up());
  const auto before = a_->daemon("oc-b");
  EXPECT_EQ(::getsid(*before), *before) << "a session of its own";
  a_->kill_manager();
  ASSERT_EQ(a_->run("ip link set link0 down"), 0);  // each keepalive now fails and is logged
  // Each second another error line. Nobody reads them; we see only that the daemon has tried.
  const std::uint64_t written = write_calls(*before);
  EXPECT_TRUE(
      eventually(15s, [&] { return !identify(*before) || write_calls(*before) > written + 3; }));
  EXPECT_TRUE(identify(*before)) << "ended by its own log line";
  ASSERT_EQ(a_->run("ip link set link0 up"), 0);
  a_->start();
  EXPECT_TRUE(eventually(15s, [&] { return a_->status()["oc-b"].echo == "up"; }));
  EXPECT_EQ(a_->daemon("oc-b"), before);
}

TEST_F(TwoDaemons, ARestartWithAnotherKeyReplacesTheDaemons) {
  ASSERT_TRUE(both_up());
  const auto before = a_->daemon("oc-b");
  a_->kill_manager();
  std::filesystem::remove(folder_ + "/a/private.key");
  make_key("a");
  a_->start();
  EXPECT_TRUE(eventually(10s, [&] {
    const auto now = a_->daemon("oc-b");
    return now && now != before && a_->status()["oc-b"].present;
  }));
  EXPECT_FALSE(identify(*before));
}

TEST_P(TwoNodes, ADeviceThatIsNoLongerWantedGoesAtTheNextStart) {
  ASSERT_TRUE(both_up());
  a_->kill_manager();
  a_->wanted.settings.peers.front().endpoint.reset();  // b now only dials us
  a_->start();
  EXPECT_TRUE(eventually(10s, [&] { return a_->status().size() == 1; }));
  EXPECT_NE(a_->run("ip link show oc-b 2>/dev/null"), 0);
  EXPECT_TRUE(eventually(10s, [&] { return b_->status()["oc-a"].echo == "up"; }));
}

TEST_P(TwoNodes, RemoveAllLeavesNoLinkNoProcessAndNoSocket) {
  ASSERT_TRUE(both_up());
  EXPECT_EQ(a_->command("remove"), "ok");
  EXPECT_NE(a_->run("ip -br link | grep -q '^oc-'"), 0);
  EXPECT_EQ(a_->processes().size(), 1U) << "only the keeper of the namespaces";
  for (const std::string folder : {"/run/wireguard", "/run/oceanid"}) {
    if (std::filesystem::exists(a_->file(folder))) {
      EXPECT_TRUE(std::filesystem::is_empty(a_->file(folder))) << folder;
    }
  }
}

TEST_P(TwoNodes, ACutIsSeenAfterThreeIntervalsAndItsEndAtOnce) {
  ASSERT_TRUE(both_up());
  ASSERT_EQ(a_->run("ip link set link0 down"), 0);
  const auto cut = Clock::now();
  ASSERT_TRUE(eventually(5s, [&] { return a_->status()["oc-b"].echo == "down"; }));
  const auto detected = milliseconds_since(cut);
  RecordProperty("down_ms", std::to_string(detected));
  EXPECT_LT(detected, 1500) << "three intervals of 50 ms and a busy machine";
  EXPECT_FALSE(a_->status()["oc-b"].usable);
  ASSERT_EQ(a_->run("ip link set link0 up"), 0);
  EXPECT_TRUE(eventually(10s, [&] { return a_->status()["oc-b"].usable; }));
}

// Nothing of the peer's arrives, which would lead WireGuard to the right address by itself.
TEST_P(TwoNodes, APeerThatFellBackToOurLoopbackIsDialledAgain) {
  ASSERT_TRUE(both_up());
  ASSERT_EQ(a_->run("nft add table inet deaf; nft add chain inet deaf pre '{ type filter hook "
                    "prerouting priority raw; iifname link0 ip protocol udp drop; }'"),
            0);
  const std::string& key = a_->wanted.settings.peers.front().public_key;
  ASSERT_EQ(a_->run("wg set oc-b peer '" + key + "' endpoint 127.0.0.1:9"), 0);
  EXPECT_TRUE(
      eventually(3s, [&] { return a_->run("wg show oc-b endpoints | grep -q 127.0.0.1") != 0; }));
}

// "I do not hear you" comes by a session that stands. Without it nothing of the peer's arrives any
// more, not even that; and a new one cannot be made. The peer is paused to make its notices late.
TEST_P(TwoNodes, APeerThatDoesNotHearUsKeepsItsSession) {
  ASSERT_TRUE(both_up());
  ASSERT_EQ(b_->run("nft add table inet deaf; nft add chain inet deaf pre '{ type filter hook "
                    "prerouting priority raw; iifname link0 ip protocol udp drop; }'"),
            0);
  ASSERT_TRUE(eventually(5s, [&] { return a_->status()["oc-b"].echo == "down"; }));
  for (int i = 0; i < 6; ++i) {
    std::this_thread::sleep_for(200ms);
    ASSERT_EQ(::kill(b_->pid(), SIGSTOP), 0);
    std::this_thread::sleep_for(900ms);
    ASSERT_EQ(::kill(b_->pid(), SIGCONT), 0);
  }
  for (int i = 0; i < 3; ++i) {
    const auto before = a_->status()["oc-b"].rx_bytes;
    std::this_thread::sleep_for(2s);
    EXPECT_GT(a_->status()["oc-b"].rx_bytes, before) << i;
  }
  ASSERT_EQ(b_->run("nft delete table inet deaf"), 0);
  EXPECT_TRUE(eventually(10s, [&] { return a_->status()["oc-b"].usable; }));
}

}  // namespace
}  // namespace oceanid::tunnel
