// Several peers on one acceptor of the TLS transport: each is let in by its key, to a session of
// its own.

#include "transport_harness.hpp"

#include <algorithm>
#include <array>

#include <gmock/gmock.h>

namespace oceanid::tunnel {
namespace {

using ::testing::AnyOf;
using testing::bound;
using testing::Client;
using ::testing::Each;
using testing::FakeWireGuard;
using ::testing::HasSubstr;
using testing::loopback;
using testing::Peer;
using testing::port_of;
using ::testing::SizeIs;
using testing::TestHost;
using testing::transport_key;
using testing::TransportTest;
using namespace std::chrono_literals;

// A dialler of another node than the harness's.
struct Node {
  Node(asio::io_context& io, std::uint16_t acceptor, DialSettings settings) {
    UniqueFd shim = bound(SOCK_DGRAM);
    shim_port = port_of(shim);
    const NativeAddress to = to_native(loopback(wireguard.port()));
    EXPECT_EQ(::connect(shim.get(), to.get(), to.length), 0);
    host.ports[SocketPurpose::tls] = acceptor;
    auto made =
        TransportDialler::make(io.get_executor(), std::move(settings), std::move(shim), host);
    EXPECT_TRUE(made);
    dialler = std::move(*made);
    dialler->start();
    dialler->order({.dial_tls = true});
  }
  FakeWireGuard wireguard;
  TestHost host;
  std::uint16_t shim_port = 0;
  std::unique_ptr<TransportDialler> dialler;
};

class TransportPeers : public TransportTest {
 protected:
  void accept_two() {
    accept({.patience = 500ms});
    ASSERT_TRUE(
        acceptor_->configure({}, {{"styx", transport_key(1)}, {"calypso", transport_key(2)}}));
  }
  Node& another(std::uint8_t key) {
    return *nodes_.emplace_back(std::make_unique<Node>(io_, port_, settings(transport_key(key))));
  }
  void TearDown() override {
    for (const auto& node : nodes_)
      finish(node->dialler->stop());
    TransportTest::TearDown();
  }

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
};

TEST_F(TransportPeers, EachHasItsOwnSessionAndNoDatagramIsCrossed) {
  accept_two();
  dial(settings(transport_key(1)));
  Node& other = another(2);
  ASSERT_TRUE(standing());
  ASSERT_TRUE(until([&] { return other.host.links[Transport::tls] == 2; }));
  EXPECT_EQ(acceptor_->counters().sessions, 2U);
  EXPECT_EQ(acceptor_->counters().connections, 4U);

  ASSERT_TRUE(carries(near_, shim_port_, far_, "styx"));
  const std::uint16_t styx = far_.sources.back();
  ASSERT_TRUE(carries(other.wireguard, other.shim_port, far_, "calypso"));
  const std::uint16_t calypso = far_.sources.back();
  ASSERT_NE(styx, calypso) << "WireGuard tells them apart by where they come from";
  far_.take();
  far_.sources.clear();
  std::vector<std::string> there;
  std::vector<std::string> to_styx;
  std::vector<std::string> to_calypso;
  const auto take = [](FakeWireGuard& from, std::vector<std::string>& into) {
    std::ranges::move(from.take(), std::back_inserter(into));
  };
  for (int i = 0; i < 100; ++i) {
    near_.send_to(shim_port_, "of styx");
    other.wireguard.send_to(other.shim_port, "of calypso");
    far_.send_to(styx, "for styx");
    far_.send_to(calypso, "for calypso");
    run_for(2ms);
    take(far_, there);
    take(near_, to_styx);
    take(other.wireguard, to_calypso);
  }
  ASSERT_THAT(there, SizeIs(far_.sources.size()));
  for (std::size_t i = 0; i < there.size(); ++i)
    EXPECT_EQ(far_.sources[i], there[i] == "of styx" ? styx : calypso) << there[i];
  EXPECT_THAT(there, Each(AnyOf("of styx", "of calypso")));
  EXPECT_THAT(to_styx, Each("for styx"));
  EXPECT_THAT(to_calypso, Each("for calypso"));
  EXPECT_GT(std::min({std::ranges::count(there, "of styx"), std::ranges::count(there, "of calypso"),
                      std::ssize(to_styx), std::ssize(to_calypso)}),
            50);
}

TEST_F(TransportPeers, AnUnknownKeyIsRefusedWhileTheOthersGoOn) {
  accept_two();
  dial(settings(transport_key(1)));
  ASSERT_TRUE(standing());
  Node& stranger = another(3);
  ASSERT_TRUE(until([&] { return !stranger.host.troubles.empty(); }));
  EXPECT_THAT(stranger.host.troubles.front(), HasSubstr("does not accept our key"));
  EXPECT_GE(acceptor_->counters().refused, 1U);
  EXPECT_EQ(acceptor_->counters().sessions, 1U);
  EXPECT_TRUE(carries(near_, shim_port_, far_, "styx"));
}

// Session numbers are the diallers' choice: one that has seen another's gets nothing for it.
TEST_F(TransportPeers, ASessionIsOfOneKeyWhateverItsNumber) {
  accept_two();
  Client styx(io_, port_);
  Client calypso(io_, port_);
  ASSERT_TRUE(wait_for(Peer::prove(styx, transport_key(1))));
  ASSERT_TRUE(wait_for(Peer::prove(calypso, transport_key(2))));
  ASSERT_TRUE(until([&] { return acceptor_->counters().connections == 2; }));
  EXPECT_EQ(acceptor_->counters().sessions, 2U);
  constexpr std::array<unsigned char, 3> of_styx{0, 1, 's'};
  constexpr std::array<unsigned char, 3> of_calypso{0, 1, 'c'};
  SSL_write(styx.ssl.get(), of_styx.data(), of_styx.size());
  SSL_write(calypso.ssl.get(), of_calypso.data(), of_calypso.size());
  std::vector<std::string> got;
  ASSERT_TRUE(until([&] {
    std::ranges::move(far_.take(), std::back_inserter(got));
    return got.size() == 2;
  }));
  EXPECT_NE(far_.sources[0], far_.sources[1]);
}

}  // namespace
}  // namespace oceanid::tunnel
