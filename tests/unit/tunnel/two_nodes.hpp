#pragma once
// Two nodes that dial each other over a veth pair, on either backend; the fixture of the namespace
// tests.

#include "node_harness.hpp"
#include "tunnel/edge/key_store.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <unistd.h>

namespace oceanid::tunnel::testing {

using namespace std::chrono_literals;

// True as soon as `condition` holds; false when it does not within `limit`.
inline bool eventually(std::chrono::seconds limit, const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

class OnBackend : public ::testing::Test {
 protected:
  explicit OnBackend(BackendChoice backend) : backend_(backend) {}

  void SetUp() override {
    if (const auto reason = why_not_here()) GTEST_SKIP() << *reason;
    if (backend_ == BackendChoice::kernel && !kernel_has_wireguard())
      GTEST_SKIP() << "this kernel has no WireGuard";
    std::string name = std::filesystem::temp_directory_path() / "oceanid-tunnel-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    const PublicKey key_a = make_key("a");
    const PublicKey key_b = make_key("b");
    a_ = std::make_unique<Node>(folder_ + "/a",
                                wanted("10.99.0.1", "b", key_b, "10.99.0.2", "192.0.2.2"));
    b_ = std::make_unique<Node>(folder_ + "/b",
                                wanted("10.99.0.2", "a", key_a, "10.99.0.1", "192.0.2.1"));
    connect(*a_, *b_);
    a_->start();
    b_->start();
  }

  void TearDown() override {
    a_.reset();
    b_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  PublicKey make_key(const std::string& node) {
    std::filesystem::create_directories(folder_ + "/" + node);
    const auto key = load_or_create_private_key(folder_ + "/" + node + "/private.key");
    return public_key_of(key.value()).value();
  }

  TunnelManager::Wanted wanted(const char* own, const char* peer, const PublicKey& key,
                               const char* peer_address, const char* endpoint) const {
    TunnelManager::Wanted result;
    result.settings.addresses = {*IpAddress::parse(own)};
    result.settings.backend = backend_;
    result.settings.mtu_raise = 3s;
    PeerSettings settings;
    settings.name = peer;
    settings.public_key = key.to_base64();
    settings.endpoint = HostPort{endpoint, 51820};
    settings.addresses = {*IpAddress::parse(peer_address)};
    settings.keepalive = 1s;
    result.settings.peers = {settings};
    ExitSettings exit;
    exit.name = peer;
    exit.peer = peer;
    result.exits = {exit};
    result.interval = 50ms;
    return result;
  }

  // Restarts a with `change` made to its configuration, the same for b.
  void reconfigure(const std::function<void(TunnelManager::Wanted&, bool is_a)>& change) {
    for (Node* node : {a_.get(), b_.get()}) {
      node->kill_manager();
      change(node->wanted, node == a_.get());
      node->start();
    }
  }

  bool both_up() {
    return eventually(15s, [&] {
      return a_->status()["oc-b"].echo == "up" && b_->status()["oc-a"].echo == "up";
    });
  }

  BackendChoice backend_;
  std::string folder_;
  std::unique_ptr<Node> a_;
  std::unique_ptr<Node> b_;
};

}  // namespace oceanid::tunnel::testing
