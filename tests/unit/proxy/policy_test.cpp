#include "proxy/core/policy.hpp"

#include <initializer_list>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

Decision decide(const ProxySettings& settings, const HostPort& destination,
                Asked how = Asked::tunnel) {
  return Policy(settings).decide({}, destination, how);
}

TEST(Policy, TheDefaultAllowsTheDefaultPorts) {
  const ProxySettings settings;
  for (const std::uint16_t port : std::initializer_list<std::uint16_t>{443, 5432, 6432, 8443}) {
    const Decision d = decide(settings, {"example.com", port});
    EXPECT_TRUE(d.allowed) << port;
    EXPECT_EQ(d.reason, Reason::ok);
    EXPECT_EQ(d.role, "default");
    EXPECT_EQ(d.rule, "proxy.policy.default: allow");
  }
}

TEST(Policy, RefusesOtherPortsAndNamesTheKey) {
  const ProxySettings settings;
  for (const std::uint16_t port :
       std::initializer_list<std::uint16_t>{1, 22, 25, 80, 442, 444, 5431, 65535}) {
    const Decision d = decide(settings, {"example.com", port});
    EXPECT_FALSE(d.allowed) << port;
    EXPECT_EQ(d.reason, Reason::port_not_allowed);
    EXPECT_EQ(d.rule, "proxy.connect_ports: 443, 5432, 6432, 8443");
  }
}

TEST(Policy, AnEmptyPortListMeansAnyPort) {
  ProxySettings settings;
  settings.connect_ports.clear();
  EXPECT_TRUE(decide(settings, {"example.com", 25}).allowed);
}

TEST(Policy, OnlyTunnelsThatTheClientNamesAreHeldToThePortList) {
  const ProxySettings settings;
  EXPECT_TRUE(decide(settings, {"example.com", 80}, Asked::plain_http).allowed);
  EXPECT_TRUE(decide(settings, {"example.com", 80}, Asked::intercepted).allowed);
  EXPECT_FALSE(decide(settings, {"example.com", 80}, Asked::tunnel).allowed);
}

TEST(Policy, DefaultDenyDenies) {
  ProxySettings settings;
  settings.policy.default_action = PolicyDefault::deny;
  const Decision d = decide(settings, {"example.com", 443});
  EXPECT_FALSE(d.allowed);
  EXPECT_EQ(d.reason, Reason::policy_denied);
  EXPECT_EQ(d.rule, "proxy.policy.default: deny");
}

TEST(Policy, DefaultReportAllowsAndSaysSo) {
  ProxySettings settings;
  settings.policy.default_action = PolicyDefault::report;
  const Decision d = decide(settings, {"example.com", 443});
  EXPECT_TRUE(d.allowed);
  EXPECT_EQ(d.rule, "proxy.policy.default: report");
}

}  // namespace
}  // namespace oceanid::proxy
