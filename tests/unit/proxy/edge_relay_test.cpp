#include "tests/unit/proxy/edge_support.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace oceanid::proxy::test {
namespace {

// ---- half-close: who ends first, and whether the other still has something to say

struct HalfCloseCase {
  const char* name;
  bool client_first;
  std::size_t before;  // bytes that the first to finish sends before its FIN
  std::size_t after;   // bytes that the other sends after it has seen the FIN
};

class EdgeHalfClose : public testing::TestWithParam<HalfCloseCase> {};

TEST_P(EdgeHalfClose, EachDirectionEndsByItself) {
  const auto& [name, client_first, before, after] = GetParam();
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  Peer& first = client_first ? tunnel.client : tunnel.server;
  Peer& second = client_first ? tunnel.server : tunnel.client;
  const std::string question = pattern(before, 7);
  const std::string reply = pattern(after, 9);

  std::thread sender([&] {
    EXPECT_TRUE(first.send_all(question));
    first.finish_sending();
  });
  EXPECT_TRUE(second.recv_all() == question);  // all of it, and its end
  EXPECT_EQ(second.last_error(), 0);
  sender.join();
  EXPECT_TRUE(first.nothing_to_read());  // the other direction is still open
  EXPECT_EQ(gateway.stats().tunnels_open, 1U);

  std::thread answerer([&] {
    EXPECT_TRUE(second.send_all(reply));
    second.finish_sending();
  });
  EXPECT_TRUE(first.recv_all() == reply);
  EXPECT_EQ(first.last_error(), 0);
  answerer.join();
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  EXPECT_EQ(gateway.stats().bytes_up, client_first ? before : after);
  EXPECT_EQ(gateway.stats().bytes_down, client_first ? after : before);
}

INSTANTIATE_TEST_SUITE_P(AllOrders, EdgeHalfClose,
                         testing::Values(HalfCloseCase{"ClientFirstBothSilent", true, 0, 0},
                                         HalfCloseCase{"ClientFirstSmall", true, 100, 4 << 20},
                                         HalfCloseCase{"ClientFirstBulk", true, 4 << 20, 4 << 20},
                                         HalfCloseCase{"ClientFirstNoReply", true, 4 << 20, 0},
                                         HalfCloseCase{"ServerFirstBothSilent", false, 0, 0},
                                         HalfCloseCase{"ServerFirstSmall", false, 100, 4 << 20},
                                         HalfCloseCase{"ServerFirstBulk", false, 4 << 20, 4 << 20},
                                         HalfCloseCase{"ServerFirstNoReply", false, 4 << 20, 0}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(EdgeRelay, ASlowReaderLosesNothingWhenTheSenderHasFinished) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  const std::string data = pattern(32 << 20, 3);
  std::thread sender([&] {
    EXPECT_TRUE(tunnel.server.send_all(data));
    tunnel.server.finish_sending();
  });
  // Nothing is read until the gateway is stuck: its buffers and the kernel's are full.
  std::uint64_t seen = 0;
  EXPECT_TRUE(gateway.eventually([&](const auto& s) {
    const bool stuck = s.bytes_down == seen && seen > 0;
    seen = s.bytes_down;
    std::this_thread::yield();
    return stuck;
  }));
  EXPECT_TRUE(tunnel.client.recv_all() == data);
  sender.join();
}

// ---- reset

void expect_reset(Peer& peer) {
  EXPECT_EQ(peer.recv_some(), "");
  EXPECT_EQ(peer.last_error(), ECONNRESET);
}

TEST(EdgeRelay, AClientsResetReachesTheServerAsAReset) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  tunnel.client.reset();
  expect_reset(tunnel.server);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
}

TEST(EdgeRelay, AServersResetReachesTheClientAsAReset) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  ASSERT_TRUE(tunnel.server.send_all("last words"));
  EXPECT_EQ(tunnel.client.recv_exact(10), "last words");
  tunnel.server.reset();
  expect_reset(tunnel.client);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
}

TEST(EdgeRelay, AResetAfterAHalfCloseIsPassedOn) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  tunnel.server.finish_sending();
  EXPECT_EQ(tunnel.client.recv_all(), "");
  EXPECT_EQ(tunnel.client.last_error(), 0);
  tunnel.server.reset();  // nobody reads from it any more; it must be noticed all the same
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  EXPECT_FALSE(tunnel.client.send_all("x") && tunnel.client.send_all("y"));
}

TEST(EdgeRelay, WhatTheServerSaidBeforeItVanishedIsDelivered) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  // All in one turn of the gateway's loop: the answer lies unread in its receive queue when the
  // client's bytes make the closed server say reset. The answer is the interesting part ("413").
  gateway.run_inside([&] {
    ASSERT_TRUE(tunnel.client.send_all("a request nobody will read"));
    ASSERT_TRUE(tunnel.server.send_all("too large, go away"));
    tunnel.server.close();
  });
  EXPECT_EQ(tunnel.client.recv_exact(18), "too large, go away");
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
}

TEST(EdgeRelay, AReceiverThatVanishesUnderBulkEndsOnlyItsTunnel) {
  std::signal(SIGPIPE, SIG_DFL);  // as a process starts; the gateway has to care for itself
  Gateway gateway;
  Target target;
  Tunnel bystander = open_tunnel(gateway, target);
  for (int i = 0; i < 20; ++i) {
    Tunnel tunnel = open_tunnel(gateway, target);
    std::thread sender([&] {
      const std::string block = pattern(1 << 20, 5);
      while (tunnel.server.send_all(block)) {
      }
    });
    EXPECT_EQ(tunnel.client.recv_exact(2 << 20).size(), std::size_t{2} << 20);
    tunnel.client.close();
    sender.join();
  }
  ASSERT_TRUE(bystander.client.send_all("x"));
  EXPECT_EQ(bystander.server.recv_exact(1), "x");
}

// ---- timers

TEST(EdgeRelay, AnIdleTunnelIsClosed) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.idle = 150ms; });
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  const auto start = SteadyClock::now();
  EXPECT_EQ(tunnel.client.recv_all(), "");
  EXPECT_EQ(tunnel.server.recv_all(), "");
  EXPECT_GE(SteadyClock::now() - start, 140ms);
  EXPECT_LT(SteadyClock::now() - start, 5s);
}

TEST(EdgeRelay, TrafficKeepsATunnelAliveBeyondTheIdleTime) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.idle = 400ms; });
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  const auto start = SteadyClock::now();
  while (SteadyClock::now() - start < 1s) {  // a chatter, always faster than the idle time
    ASSERT_TRUE(tunnel.client.send_all("x"));
    ASSERT_EQ(tunnel.server.recv_exact(1), "x");
  }
  EXPECT_EQ(gateway.stats().tunnels_open, 1U);
}

TEST(EdgeRelay, AHalfClosedTunnelThatFallsSilentIsClosedByTheFinTimer) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.fin = 150ms; });
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  tunnel.client.finish_sending();
  EXPECT_EQ(tunnel.server.recv_all(), "");
  const auto start = SteadyClock::now();
  EXPECT_EQ(tunnel.client.recv_all(), "");
  EXPECT_LT(SteadyClock::now() - start, 5s);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
}

TEST(EdgeRelay, ADownloadAfterHalfCloseOutlivesTheFinTimer) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.fin = 400ms; });
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  tunnel.client.finish_sending();
  EXPECT_EQ(tunnel.server.recv_all(), "");
  const auto start = SteadyClock::now();
  while (SteadyClock::now() - start < 1s) {
    ASSERT_TRUE(tunnel.server.send_all("x"));
    ASSERT_EQ(tunnel.client.recv_exact(1), "x");
  }
  EXPECT_EQ(gateway.stats().tunnels_open, 1U);
}

// ---- bulk

TEST(EdgeRelay, BulkInBothDirectionsArrivesUnchanged) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  constexpr std::size_t size = 64 << 20;
  const std::string up = pattern(size, 11);
  const std::string down = pattern(size, 13);
  // Odd chunk sizes, small and large in turn, move each flow between copying and splicing.
  const auto send = [](Peer& peer, const std::string& data) {
    const std::size_t chunks[] = {1, 1447, 65537, 3, 262143, 999'983, 17, 40'001};
    std::size_t at = 0;
    for (std::size_t i = 0; at < data.size(); ++i) {
      const std::string_view rest = std::string_view(data).substr(at);
      const auto chunk = rest.substr(0, chunks[i % std::size(chunks)]);
      if (!peer.send_all(chunk)) break;
      at += chunk.size();
    }
    peer.finish_sending();
  };
  std::string got_up;
  std::thread up_sender([&] { send(tunnel.client, up); });
  std::thread down_sender([&] { send(tunnel.server, down); });
  std::thread up_receiver([&] { got_up = tunnel.server.recv_all(); });
  const std::string got_down = tunnel.client.recv_all();
  up_receiver.join();
  up_sender.join();
  down_sender.join();
  EXPECT_TRUE(got_up == up);
  EXPECT_TRUE(got_down == down);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  EXPECT_EQ(gateway.stats().bytes_up, size);
  EXPECT_EQ(gateway.stats().bytes_down, size);
}

TEST(EdgeRelay, BulkIsNotStarvedOfPipesNorStarvesOthers) {
  Gateway gateway;
  Target target;
  Tunnel quiet = open_tunnel(gateway, target);
  Tunnel bulk = open_tunnel(gateway, target);
  std::atomic<bool> stop = false;
  std::thread sender([&] {
    const std::string block = pattern(1 << 20, 5);
    while (!stop && bulk.client.send_all(block)) {
    }
    bulk.client.finish_sending();
  });
  std::thread receiver([&] { bulk.server.recv_all(); });
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(quiet.client.send_all("ping"));
    ASSERT_EQ(quiet.server.recv_exact(4), "ping");
  }
  stop = true;
  sender.join();
  receiver.join();
}

TEST(EdgeRelay, BothLegsCarryTheSocketOptions) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  // The gateway's own two sockets, found by their ports among this process's descriptors.
  const auto socket_with = [](std::uint16_t local, std::uint16_t remote) {
    for (int fd = 3; fd < 1024; ++fd) {
      NativeAddress peer;
      if (local_address(fd).port == local && ::getpeername(fd, peer.get(), &peer.length) == 0 &&
          plain_address(peer).port == remote)
        return fd;
    }
    return -1;
  };
  NativeAddress upstream;
  ASSERT_EQ(::getpeername(tunnel.server.fd(), upstream.get(), &upstream.length), 0);
  const int legs[] = {socket_with(gateway.port(), tunnel.client.local_port()),
                      socket_with(plain_address(upstream).port, target.port())};
  const auto option = [](int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    ::getsockopt(fd, level, name, &value, &length);
    return value;
  };
  for (const int fd : legs) {
    ASSERT_GE(fd, 0);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
  }
}

}  // namespace
}  // namespace oceanid::proxy::test
