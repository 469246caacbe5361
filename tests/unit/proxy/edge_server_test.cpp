#include "tests/unit/proxy/edge_support.hpp"

#include <cerrno>
#include <future>

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

// ---- records

std::string record_of(const std::function<void()>& work) {
  testing::internal::CaptureStderr();
  work();
  return testing::internal::GetCapturedStderr();
}

std::string field(const std::string& record, const std::string& name) {
  const auto at = record.find("\"" + name + "\":");
  if (at == std::string::npos) return "(missing)";
  const auto start = at + name.size() + 3;
  return record.substr(start, record.find_first_of(",}", start) - start);
}

TEST(EdgeRecord, ATunnelLeavesOneLineThatTellsItsStory) {
  std::string record;
  std::uint16_t port = 0;
  record = record_of([&] {
    Gateway gateway([](Runtime& runtime, ProxySettings&) { runtime.access_log = true; });
    Target target;
    port = target.port();
    Tunnel tunnel = open_tunnel(gateway, target);
    ASSERT_TRUE(tunnel.client.send_all("12345"));
    ASSERT_EQ(tunnel.server.recv_exact(5), "12345");
    ASSERT_TRUE(tunnel.server.send_all("abc"));
    ASSERT_EQ(tunnel.client.recv_exact(3), "abc");
    tunnel.client.finish_sending();
    EXPECT_EQ(tunnel.server.recv_all(), "");
    tunnel.server.close();
    EXPECT_EQ(tunnel.client.recv_all(), "");
  });
  EXPECT_EQ(std::ranges::count(record, '\n'), 1);
  EXPECT_EQ(field(record, "method"), "\"CONNECT\"");
  EXPECT_EQ(field(record, "host"), "\"127.0.0.1\"");
  EXPECT_EQ(field(record, "port"), std::to_string(port));
  EXPECT_EQ(field(record, "address"), "\"" + loopback(port) + "\"");
  EXPECT_EQ(field(record, "verdict"), "\"allow\"");
  EXPECT_EQ(field(record, "status"), "200");
  EXPECT_EQ(field(record, "bytes_up"), "5");
  EXPECT_EQ(field(record, "bytes_down"), "3");
  EXPECT_EQ(field(record, "closed_by"), "\"client\"");
  EXPECT_NE(field(record, "first_byte_ms"), "null");
  EXPECT_NE(field(record, "connect_ms"), "null");
  EXPECT_EQ(field(record, "dns_ms"), "null");  // an address needs none
}

TEST(EdgeRecord, ARefusalLeavesOneToo) {
  const std::string record = record_of([&] {
    Gateway gateway([](Runtime& runtime, ProxySettings& settings) {
      runtime.access_log = true;
      settings.guard.allow.clear();
    });
    Peer client = gateway.client();
    connect_through(client, "127.0.0.1:443");
    client.recv_all();
    client.close();
    EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.requests.size() == 1; }));
  });
  EXPECT_EQ(field(record, "status"), "403");
  EXPECT_EQ(field(record, "error"), "\"destination_prohibited\"");
  EXPECT_EQ(field(record, "verdict"), "\"deny\"");
}

// ---- exits

ExitState exit_on(const std::string& device, bool usable) {
  ExitState out;
  out.name = "tethys";
  if (!device.empty()) out.device = IfName::parse(device).value();
  out.usable = usable;
  out.ipv4 = true;
  out.reason = usable ? "" : "no answer from tethys";
  return out;
}

std::function<void(Runtime&, ProxySettings&)> exits(ExitState state, bool active = true) {
  return [=](Runtime& runtime, ProxySettings&) {
    ExitTable table;
    table.exits = {state};
    if (active) table.active = 0;
    runtime.exits_configured = true;
    runtime.exits = std::make_shared<const ExitTable>(table);
  };
}

TEST(EdgeExit, UpstreamSocketsAreBoundToTheExitsDevice) {
  Gateway gateway(exits(exit_on("lo", true)));
  Target target;
  open_tunnel(gateway, target);  // "lo" reaches it
  Gateway elsewhere(exits(exit_on("oc-absent", true)));
  Peer client = elsewhere.client();
  const std::string answer = connect_through(client, loopback(target.port()));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 No Usable Exit")) << answer;
  EXPECT_TRUE(target.accept_would_block());  // no unbound attempt behind it
}

TEST(EdgeExit, WithoutAUsableExitTheClientIsToldWhy) {
  Gateway gateway(exits(exit_on("lo", false), /*active=*/false));
  Target target;
  Peer client = gateway.client();
  const std::string answer = connect_through(client, loopback(target.port()));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 No Usable Exit")) << answer;
  EXPECT_NE(answer.find("tethys: no answer from tethys"), std::string::npos) << answer;
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeExit, ARequestWaitsOutAShortFailover) {
  Gateway gateway(exits(exit_on("lo", false), /*active=*/false));
  Target target;
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request(loopback(target.port()))));
  gateway.apply(exits(exit_on("lo", true)));
  EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
}

TEST(EdgeExit, AFamilyThatTheExitLacksIsNotTried) {
  ExitState six_only = exit_on("lo", true);
  six_only.ipv4 = false;
  six_only.ipv6 = true;
  Gateway gateway(exits(six_only));
  Target target;
  Peer client = gateway.client();
  EXPECT_TRUE(
      connect_through(client, loopback(target.port())).starts_with("HTTP/1.1 503 No Usable Exit"));
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeExit, TunnelsOfAnExitThatDiedAreResetAtOnce) {
  Gateway gateway(exits(exit_on("lo", true)));
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  gateway.apply(exits(exit_on("lo", true)));  // nothing has changed for it
  ASSERT_TRUE(tunnel.client.send_all("x"));
  ASSERT_EQ(tunnel.server.recv_exact(1), "x");
  gateway.apply(exits(exit_on("lo", false), /*active=*/false));
  EXPECT_EQ(tunnel.client.recv_some(), "");
  EXPECT_EQ(tunnel.client.last_error(), ECONNRESET);
}

// ---- life and load

TEST(EdgeServer, AReloadChangesThePolicyForNewRequestsOnly) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  gateway.apply([](Runtime&, ProxySettings& s) { s.connect_ports = {443}; });
  Peer client = gateway.client();
  EXPECT_TRUE(connect_through(client, loopback(target.port()))
                  .starts_with("HTTP/1.1 403 Port Not Allowed"));
  ASSERT_TRUE(tunnel.client.send_all("x"));
  EXPECT_EQ(tunnel.server.recv_exact(1), "x");
}

TEST(EdgeServer, DrainServesWhatIsQueuedAndLetsTunnelsFinish) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  std::vector<Peer> queued;
  std::future<void> drained;
  gateway.run_inside([&] {  // these wait in the kernel's queue while the drain begins
    for (int i = 0; i < 10; ++i) {
      queued.push_back(gateway.client());
      ASSERT_TRUE(queued.back().send_all(connect_request(loopback(target.port()))));
    }
    drained = std::async(std::launch::async, [&] { gateway.drain(10s); });
  });
  std::vector<Peer> servers;
  for (Peer& client : queued) {
    EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
    servers.push_back(target.accept());
  }
  ASSERT_TRUE(tunnel.client.send_all("last words"));
  EXPECT_EQ(tunnel.server.recv_exact(10), "last words");
  EXPECT_NE(drained.wait_for(0s), std::future_status::ready);
  tunnel = {};
  queued.clear();
  servers.clear();
  EXPECT_EQ(drained.wait_for(9s), std::future_status::ready);
}

TEST(EdgeServer, DrainCutsWhatDoesNotFinishInTime) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  Peer half_sent = gateway.client();
  ASSERT_TRUE(half_sent.send_all("CONNECT "));
  gateway.drain(100ms);
  EXPECT_EQ(tunnel.client.recv_all(), "");
  EXPECT_EQ(tunnel.server.recv_all(), "");
  EXPECT_EQ(gateway.stats().tunnels_open, 0U);
}

TEST(EdgeServer, TwoThousandTunnelsAtOnce) {
  Gateway gateway;
  Target target(4096);
  constexpr int count = 2000;
  std::vector<Tunnel> tunnels;
  tunnels.reserve(count);
  for (int i = 0; i < count; ++i)
    tunnels.push_back(open_tunnel(gateway, target));
  EXPECT_EQ(gateway.stats().tunnels_open, static_cast<std::uint64_t>(count));
  for (int i = 0; i < count; ++i)
    ASSERT_TRUE(tunnels[static_cast<std::size_t>(i)].client.send_all(std::to_string(i) + "\n"));
  for (int i = 0; i < count; ++i) {
    const std::string expected = std::to_string(i) + "\n";
    ASSERT_EQ(tunnels[static_cast<std::size_t>(i)].server.recv_exact(expected.size()), expected);
  }
  tunnels.clear();
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
}

TEST(EdgeServer, TwoLoopsShareTheLimitsAndNothingElse) {
  // Two servers on two threads with one ledger, while a third thread reads their statistics.
  ProxySettings settings;
  settings.connect_ports.clear();
  settings.guard.allow = {Prefix::parse("127.0.0.0/8").value()};
  settings.limits.tunnels = 2;
  Runtime runtime;
  runtime.proxy = std::make_shared<const ProxySettings>(settings);
  runtime.access_log = false;
  const auto shared = std::make_shared<const Runtime>(runtime);
  const auto ledger = std::make_shared<TunnelLedger>();
  struct Loop {
    asio::io_context io{1};
    std::unique_ptr<Server> server;
    std::uint16_t port = 0;
    std::thread thread;
  };
  std::array<Loop, 2> loops;
  for (Loop& loop : loops) {
    loop.server =
        std::make_unique<Server>(loop.io, shared, Commons{.ledger = ledger, .breakers = nullptr});
    std::vector<ListenSocket> sockets;
    sockets.push_back({"p", listen_on_loopback(loop.port).release(), ListenerSettings{}});
    loop.server->adopt(std::move(sockets));
    loop.thread = std::thread([&loop] { loop.io.run(); });
  }
  std::atomic<bool> stop = false;
  std::thread watcher([&] {
    while (!stop) {
      StatsSnapshot sum;
      for (const Loop& loop : loops)
        sum += loop.server->snapshot();
      EXPECT_LE(sum.tunnels_open, 2U);
    }
  });
  Target target;
  Peer first = Peer::connect(loops[0].port);
  Peer second = Peer::connect(loops[1].port);
  EXPECT_TRUE(connect_through(first, loopback(target.port())).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(connect_through(second, loopback(target.port())).starts_with("HTTP/1.1 200 "));
  for (const Loop& loop : loops) {
    Peer third = Peer::connect(loop.port);
    EXPECT_TRUE(connect_through(third, loopback(target.port())).starts_with("HTTP/1.1 503 "));
  }
  stop = true;
  watcher.join();
  for (Loop& loop : loops) {
    asio::co_spawn(loop.io, loop.server->drain(0ms), [](const std::exception_ptr&) {});
    loop.thread.join();  // drained, the loop has nothing left to do
  }
}

}  // namespace
}  // namespace oceanid::proxy::test
