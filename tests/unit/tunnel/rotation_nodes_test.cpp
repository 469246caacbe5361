// A change of keys between two nodes in network namespaces, under load. See two_nodes.hpp.

#include "two_nodes.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Node;
using testing::OnBackend;

// Sends for the given time, and says how much arrived by the one connection. Paced below what
// wireguard-go carries on a busy machine: an overrun queue loses pings without any change of keys.
constexpr const char* bulk = R"(import socket, sys, threading, time
own, seconds = sys.argv[1], float(sys.argv[2])
if len(sys.argv) == 3:
    listener = socket.create_server((own, 5001))
    listener.settimeout(20)
    stream, _ = listener.accept()
else:
    stream = socket.create_connection((sys.argv[3], 5001), 20)
stream.settimeout(20)
stream.setsockopt(socket.SOL_SOCKET, 47, 1_000_000)  # SO_MAX_PACING_RATE, bytes a second
total = 0
def take():
    global total
    while piece := stream.recv(1 << 16):
        total += len(piece)
reader = threading.Thread(target=take)
reader.start()
end = time.monotonic() + seconds
while time.monotonic() < end:
    stream.sendall(b"x" * 65536)
stream.shutdown(socket.SHUT_WR)
reader.join()
print(total)
)";

class KeyChange : public OnBackend, public ::testing::WithParamInterface<BackendChoice> {
 protected:
  KeyChange() : OnBackend(GetParam()) {}

  std::string text_of(const std::string& name) const {
    std::ifstream in(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string private_key_of(const std::string& node) const {
    return text_of(node + "/private.key");
  }

  // The public key that `rotate` has named.
  static std::string named_in(const std::string& answer) {
    const std::string before = "next public key: ";
    const auto at = answer.find(before);
    return at == std::string::npos ? "" : answer.substr(at + before.size(), 44);
  }

  // Whether every peer of `node` uses its new key, by both sessions.
  bool over(Node& node, Node& other) {
    const std::string keys = node.command("keys");
    const std::string there = other.command("keys");
    return keys.starts_with("turned") && keys.find("=turned") != std::string::npos &&
           there.find("=next") != std::string::npos && there.find("=first") == std::string::npos;
  }

  // 100 pings a second and a bulk transfer both ways through the tunnel, from a to b.
  void start_load(int seconds) {
    std::ofstream(folder_ + "/bulk.py") << bulk;
    const std::string s = std::to_string(seconds);
    ASSERT_EQ(b_->run("timeout 60 python3 " + folder_ + "/bulk.py 10.99.0.2 " + s + " >" + folder_ +
                      "/b.out 2>&1 &"),
              0);
    std::this_thread::sleep_for(500ms);
    ASSERT_EQ(a_->run("timeout 60 python3 " + folder_ + "/bulk.py 10.99.0.1 " + s + " 10.99.0.2 >" +
                      folder_ + "/a.out 2>&1 &"),
              0);
    ASSERT_EQ(a_->run("timeout 60 ping -i 0.01 -c " + std::to_string(seconds * 100) +
                      " -W 5 10.99.0.2 >" + folder_ + "/ping.out 2>&1 &"),
              0);
  }
  void expect_nothing_lost() {
    EXPECT_TRUE(eventually(60s, [&] {
      return text_of("ping.out").find("packet loss") != std::string::npos &&
             !text_of("a.out").empty() && !text_of("b.out").empty();
    }));
    const std::string ping = text_of("ping.out");
    EXPECT_NE(ping.find(" 0% packet loss"), std::string::npos) << ping;
    const auto summary = ping.find("rtt ");
    RecordProperty("ping", summary == std::string::npos ? ping : ping.substr(summary));
    for (const std::string name : {"a.out", "b.out"}) {
      const std::string total = text_of(name);
      EXPECT_GT(std::atoll(total.c_str()), 1'000'000) << name << ": " << total;
      RecordProperty(name, total);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Backend, KeyChange,
                         ::testing::Values(BackendChoice::userspace, BackendChoice::kernel),
                         [](const auto& info) {
                           return info.param == BackendChoice::kernel ? "kernel" : "userspace";
                         });

TEST_P(KeyChange, UnderLoadLosesNothing) {
  ASSERT_TRUE(both_up());
  const std::string before = private_key_of("a");
  const std::string next = named_in(a_->command("rotate"));
  ASSERT_EQ(next.size(), 44U);
  const std::string first = b_->wanted.settings.peers.front().public_key;
  start_load(8);
  std::this_thread::sleep_for(2s);
  ASSERT_EQ(b_->command("keys-of a " + first + " " + next), "ok");
  EXPECT_TRUE(eventually(20s, [&] { return over(*a_, *b_); })) << a_->command("keys") << "\n"
                                                               << b_->command("keys");
  expect_nothing_lost();
  EXPECT_NE(private_key_of("a"), before);
  EXPECT_EQ(text_of("a/private.key.old"), before);
  EXPECT_NE(a_->command("keys").find(next), std::string::npos);
  EXPECT_EQ(a_->status()["oc-b"].echo, "up");
  EXPECT_EQ(b_->status()["oc-a"].echo, "up");
  // The configuration catches up: nothing is interrupted.
  const auto answered = b_->status()["oc-a"];
  ASSERT_EQ(b_->command("keys-of a " + next), "ok");
  ASSERT_TRUE(
      eventually(10s, [&] { return b_->status()["oc-a"].answered > answered.answered + 20; }));
  const auto after = b_->status()["oc-a"];
  EXPECT_LE(after.sent - after.answered, answered.sent - answered.answered + 1);
}

TEST_P(KeyChange, APeerThatDoesNotKnowTheKeyHoldsItBack) {
  ASSERT_TRUE(both_up());
  const std::string before = private_key_of("a");
  ASSERT_EQ(named_in(a_->command("rotate")).size(), 44U);
  EXPECT_TRUE(eventually(10s, [&] {
    return a_->command("rotate").find("b: does not know the next key") != std::string::npos;
  })) << a_->command("rotate");
  EXPECT_TRUE(a_->command("keys").starts_with("waiting"));
  EXPECT_EQ(private_key_of("a"), before);
  EXPECT_EQ(a_->status()["oc-b"].echo, "up");
  EXPECT_NE(a_->command("abandon").find("removed"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/a/private.key.next"));
}

// Forced although b does not know the key: b refuses the announcement and stays with the former
// key. Told the key later, it finds the way by itself.
TEST_P(KeyChange, APeerThatLearnsTheKeyAfterTheTurnFollows) {
  ASSERT_TRUE(both_up());
  const std::string next = named_in(a_->command("rotate"));
  a_->command("rotate force");
  ASSERT_TRUE(eventually(10s, [&] { return a_->command("keys").starts_with("turned"); }));
  EXPECT_TRUE(
      eventually(5s, [&] { return b_->command("keys").find("refused=0") == std::string::npos; }));
  EXPECT_TRUE(eventually(5s, [&] { return b_->status()["oc-a"].echo == "down"; }));
  const std::string first = b_->wanted.settings.peers.front().public_key;
  ASSERT_EQ(b_->command("keys-of a " + first + " " + next), "ok");
  EXPECT_TRUE(eventually(40s, [&] { return over(*a_, *b_); })) << a_->command("keys") << "\n"
                                                               << b_->command("keys");
  EXPECT_TRUE(both_up());
}

// Both managers die around the turn and start again: what is on disk and in the devices suffices.
TEST_P(KeyChange, ACrashOnBothSidesConverges) {
  ASSERT_TRUE(both_up());
  const std::string next = named_in(a_->command("rotate"));
  PeerSettings& a_at_b = b_->wanted.settings.peers.front();
  a_at_b.next_public_key = next;
  ASSERT_EQ(b_->command("keys-of a " + a_at_b.public_key + " " + next), "ok");
  ASSERT_TRUE(eventually(20s, [&] { return a_->command("keys").starts_with("turned"); }));
  a_->kill_manager();
  b_->kill_manager();
  a_->start();
  b_->start();
  EXPECT_TRUE(eventually(40s, [&] {
    const std::string there = b_->command("keys");
    return there.find("=next") != std::string::npos && there.find("=first") == std::string::npos;
  })) << b_->command("keys");
  EXPECT_TRUE(both_up()) << a_->command("status") << b_->command("status");
  EXPECT_NE(a_->command("keys").find(next), std::string::npos);
}

}  // namespace
}  // namespace oceanid::tunnel
