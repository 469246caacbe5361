#include "gateway/admin/handlers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::admin {
namespace {

using testing::HasSubstr;

ipc::ExitView exit_view(std::string name, bool up, bool current) {
  ipc::ExitView out;
  out.name = std::move(name);
  out.state = up ? "up" : "down";
  out.usable = up;
  out.current = current;
  out.reason = up ? "answers" : "no answer for 600 ms";
  return out;
}

View healthy() {
  View view;
  view.accepting = true;
  view.loops_beat = true;
  view.gateway.connector_id = "11111111-2222-4333-8444-555555555555";
  view.gateway.exits = {exit_view("tethys", true, true), exit_view("meliae", true, false)};
  return view;
}

TEST(Admin, LivenessDependsOnTheLoopsAlone) {
  View view = healthy();
  view.gateway.exits = {exit_view("tethys", false, false)};
  view.accepting = false;
  EXPECT_EQ(handle("GET", "/livez", view).status, 200U);
  view.loops_beat = false;
  EXPECT_EQ(handle("GET", "/livez", view).status, 503U);
}

TEST(Admin, ReadinessDoesNotDependOnExitsButNamesThem) {
  View view = healthy();
  view.gateway.exits = {exit_view("tethys", false, false)};
  view.gateway.diagnosis = "No exit carries traffic: tethys is down (no answer for 600 ms).";
  const auto ready = handle("GET", "/readyz", view);
  EXPECT_EQ(ready.status, 200U);
  EXPECT_THAT(ready.body, HasSubstr("tethys is down (no answer for 600 ms)"));
  view.accepting = false;
  EXPECT_EQ(handle("GET", "/readyz", view).status, 503U);
}

TEST(Admin, ReadyCountsOnlyProvenPaths) {
  View view = healthy();
  EXPECT_EQ(handle("GET", "/ready", view).body,
            "{\"status\":200,\"readyConnections\":2,"
            "\"connectorId\":\"11111111-2222-4333-8444-555555555555\"}\n");
  view.gateway.exits = {exit_view("tethys", false, false)};
  const auto none = handle("GET", "/ready", view);
  EXPECT_EQ(none.status, 503U);
  EXPECT_THAT(none.body, HasSubstr("\"readyConnections\":0"));
}

TEST(Admin, IsReadOnly) {
  EXPECT_EQ(handle("POST", "/livez", healthy()).status, 405U);
  EXPECT_EQ(handle("GET", "/nothing", healthy()).status, 404U);
  EXPECT_EQ(handle("GET", "/livez?verbose=1", healthy()).status, 200U);
}

TEST(Admin, MetricsCarryTheContractsNames) {
  View view = healthy();
  view.proxy.requests[{"ok", "default"}] = 7;
  view.proxy.bytes_up = 10;
  view.proxy.guard_denied["link-local"] = 2;
  view.proxy.forward_open["warehouse"] = 3;
  view.proxy.connect_seconds.observe(0.003);
  view.gateway.routing.drift = {{"nft", "other", 3}};
  view.gateway.routing.last_drift_repair_seconds = 0.012;
  view.gateway.exits[0].code = "ok";
  view.gateway.diagnosis_code = "standby";
  view.gateway.failover_seconds = 0.7;
  view.gateway.targets.resize(2);
  view.gateway.targets[0].exit = view.gateway.targets[1].exit = "tethys";
  view.gateway.targets[0].target = "tls a:443";
  view.gateway.targets[0].known = true;
  view.gateway.targets[0].certificate_days = 9;
  view.gateway.targets[1].target = "exit_ip";
  view.gateway.targets[1].mismatches = 2;
  const std::string text = metrics_text(view);
  for (const auto* line : {"oceanid_proxy_requests_total{outcome=\"ok\",role=\"default\"} 7",
                           "oceanid_proxy_tunnels_open 0",
                           "oceanid_proxy_bytes_total{direction=\"up\"} 10",
                           "oceanid_proxy_guard_denied_total{range=\"link-local\"} 2",
                           "oceanid_forward_connections_open{forward=\"warehouse\"} 3",
                           "oceanid_exit_state{exit=\"tethys\",state=\"up\"} 1",
                           "oceanid_exit_state{exit=\"tethys\",state=\"hold\"} 0",
                           "oceanid_exit_diagnosis{exit=\"tethys\",code=\"ok\"} 1",
                           "oceanid_diagnosis{code=\"standby\"} 1",
                           "oceanid_failover_seconds 0.7",
                           "oceanid_probe_success{exit=\"tethys\",target=\"tls a:443\"} 1",
                           "oceanid_probe_certificate_days{exit=\"tethys\",target=\"tls a:443\"} 9",
                           "oceanid_exit_address_mismatch_total{exit=\"tethys\"} 2",
                           "oceanid_exit_current{exit=\"meliae\"} 0",
                           "oceanid_proxy_connect_seconds_count 1",
                           "oceanid_proxy_connect_seconds_bucket{le=\"0.005\"} 1",
                           "oceanid_proxy_connect_seconds_bucket{le=\"0.0025\"} 0",
                           "oceanid_routing_leaks_blocked_total 0",
                           "oceanid_routing_flows_reset_total 0",
                           "oceanid_worker_restarts_total 0",
                           "oceanid_routing_drift_total{kind=\"nft\",culprit=\"other\"} 3",
                           "oceanid_routing_drift_repair_seconds 0.012"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Admin, MetricsOfAnExitCarryItsPortsAndItsClientsNetworks) {
  View view = healthy();
  EXPECT_THAT(metrics_text(view), testing::Not(HasSubstr("port_budget")));
  auto& serving = view.gateway.serving.emplace();
  serving.flows_open = 4;
  serving.refused = 6;
  serving.ports = {{"203.0.113.10", "192.0.2.10:5432/tcp", 51'610, 64'512, 0.8}};
  serving.networks = {{"10.42.1.0/24", 1000, 2000, 5}};
  const std::string text = metrics_text(view);
  for (const auto* line :
       {"oceanid_routing_port_budget_used_ratio{address=\"203.0.113.10\",destination=\"192.0.2.10:"
        "5432/tcp\"} 0.8",
        "oceanid_routing_source_bytes_total{source=\"10.42.1.0/24\",direction=\"down\"} 2000",
        "oceanid_routing_source_flows_total{source=\"10.42.1.0/24\"} 5",
        "oceanid_routing_source_flows_open 4", "oceanid_routing_client_refused_total 6"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Admin, MetricsCountWhatTheTlsTransportDrops) {
  View view = healthy();
  ipc::TunnelView tunnel;
  tunnel.peer = "tethys";
  tunnel.device = "oc-tethys";
  tunnel.transport = "tls";
  view.gateway.tunnels = {tunnel};
  const auto* line = "oceanid_tunnel_transport_dropped_total{peer=";
  EXPECT_THAT(metrics_text(view), testing::Not(HasSubstr(line))) << "nothing was dropped";
  view.gateway.tunnels[0].transport_dropped = 7;
  tunnel.peer = "styx";
  tunnel.device = "oc-hub";
  tunnel.transport_dropped = 9;
  view.gateway.tunnels.push_back(tunnel);
  const std::string text = metrics_text(view);
  EXPECT_THAT(text, HasSubstr(std::string(line) + "\"tethys\"} 7"));
  EXPECT_THAT(text, testing::Not(HasSubstr(std::string(line) + "\"styx\"}")))
      << "of those that dial us their own side tells";
}

TEST(Admin, MetricsTellTheKeysAgeAndItsChange) {
  View view = healthy();
  EXPECT_THAT(metrics_text(view), testing::Not(HasSubstr("oceanid_tunnel_key_age_seconds")));
  ipc::KeyView key;
  key.age_seconds = 86400;
  key.rotation = "waiting";
  key.peers = {{"styx", "ready"}};
  view.gateway.key = key;
  ipc::TunnelView tunnel;
  tunnel.peer = "styx";
  tunnel.device = "oc-styx";
  tunnel.key_in_force = "next_public_key";
  view.gateway.tunnels = {tunnel};
  const std::string text = metrics_text(view);
  for (const auto* line :
       {"oceanid_tunnel_key_age_seconds 86400", "oceanid_tunnel_key_rotation{phase=\"waiting\"} 1",
        "oceanid_tunnel_key_rotation_peer{peer=\"styx\",state=\"ready\"} 1",
        "oceanid_tunnel_peer_next_key{peer=\"styx\",device=\"oc-styx\"} 1"})
    EXPECT_THAT(text, HasSubstr(line));
}

}  // namespace
}  // namespace oceanid::admin
