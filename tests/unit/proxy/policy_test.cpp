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
  EXPECT_TRUE(d.reported);
  EXPECT_EQ(d.rule, "proxy.policy.default: report");
}

Identity client(std::string_view address, std::string user = {},
                std::vector<std::string> certificates = {}) {
  return {IpAddress::parse(address).value(), std::move(user), std::move(certificates)};
}

Role role(std::string name) {
  Role out;
  out.name = std::move(name);
  return out;
}

TEST(PolicyRoles, TheFirstThatMatchesCountsAndAllGivenKindsMustFit) {
  ProxySettings settings;
  Role all = role("all-three");
  all.sources = {Prefix::parse("10.42.1.0/24").value()};
  all.users = {"ls", "other"};
  all.certificates = {"LS.apps"};
  Role net = role("net");
  net.sources = {Prefix::parse("10.42.0.0/16").value()};
  Role user = role("user");
  user.users = {"ls"};
  Role cert = role("cert");
  cert.certificates = {"ls.apps"};
  settings.policy.roles = {all, net, user, cert};
  const Policy policy(settings);
  const auto plays = [&](const Identity& who) {
    return policy.decide(who, {"example.com", 443}, Asked::tunnel).role;
  };
  EXPECT_EQ(plays(client("10.42.1.5", "ls", {"x", "ls.Apps"})), "all-three");
  EXPECT_EQ(plays(client("::ffff:10.42.1.5", "ls", {"ls.apps"})), "all-three");
  EXPECT_EQ(plays(client("10.42.1.5", "ls")), "net");
  EXPECT_EQ(plays(client("10.42.1.5", "", {"ls.apps"})), "net");
  EXPECT_EQ(plays(client("192.0.2.1", "ls")), "user");
  EXPECT_EQ(plays(client("192.0.2.1", "LS")), "default");
  EXPECT_EQ(plays(client("192.0.2.1", "", {"ls.apps"})), "cert");
  EXPECT_EQ(plays(client("192.0.2.1")), "default");
  settings.policy.roles.push_back(role("everybody"));
  EXPECT_EQ(Policy(settings).decide(client("192.0.2.1"), {"a.test", 443}, Asked::tunnel).role,
            "everybody");
}

struct Case {
  RoleAction action;
  HostPort destination;
  bool allowed;
  bool reported;
  std::string_view rule;
};

TEST(PolicyRoles, ActionsDecideWhatHappens) {
  const Case cases[] = {
      {RoleAction::enforce, {"api.example.com", 443}, true, false, "allow: api.example.com"},
      {RoleAction::enforce, {"bad.example.com", 443}, false, false, "deny: bad.example.com"},
      {RoleAction::enforce, {"other.test", 443}, false, false, "allow: nothing there fits"},
      {RoleAction::enforce, {"192.0.2.7", 443}, false, false, "allow: nothing there fits"},
      {RoleAction::report, {"api.example.com", 443}, true, false, "allow: api.example.com"},
      {RoleAction::report, {"bad.example.com", 443}, true, true, "deny: bad.example.com"},
      {RoleAction::report, {"other.test", 443}, true, true, "allow: nothing there fits"},
      {RoleAction::open, {"other.test", 443}, true, false, "action: open"},
      {RoleAction::open, {"bad.example.com", 443}, false, false, "deny: bad.example.com"},
  };
  for (const Case& c : cases) {
    ProxySettings settings;
    Role r = role("ls");
    r.action = c.action;
    r.allow = {"api.example.com"};
    r.deny = {"bad.example.com"};
    r.exit = {{"tethys"}};
    settings.policy.roles = {r};
    const Decision d = decide(settings, c.destination);
    EXPECT_EQ(d.allowed, c.allowed) << c.destination.to_string();
    EXPECT_EQ(d.reported, c.reported) << c.destination.to_string();
    EXPECT_EQ(d.rule, "proxy.policy.roles.ls." + std::string(c.rule));
    EXPECT_EQ(d.reason, c.allowed ? Reason::ok : Reason::policy_denied);
    EXPECT_EQ(d.exit, (ExitPin{{"tethys"}}));
  }
}

TEST(PolicyRoles, AnAllowThatNamesThePortOpensIt) {
  ProxySettings settings;
  Role r = role("ls");
  r.allow = {"git.example.com:22", "*.example.com", "192.0.2.0/24:9000", "198.51.100.0/24"};
  settings.policy.roles = {r};
  EXPECT_TRUE(decide(settings, {"git.example.com", 22}).allowed);
  const Decision closed = decide(settings, {"www.example.com", 22});
  EXPECT_EQ(closed.reason, Reason::port_not_allowed);
  EXPECT_EQ(closed.rule, "proxy.connect_ports: 443, 5432, 6432, 8443");
  EXPECT_TRUE(decide(settings, {"www.example.com", 22}, Asked::plain_http).allowed);
  EXPECT_TRUE(decide(settings, {"192.0.2.1", 9000}).allowed);
  EXPECT_EQ(decide(settings, {"198.51.100.1", 9000}).reason, Reason::port_not_allowed);

  const Decision by_address = decide(settings, {"named.test", 9000});
  ASSERT_TRUE(by_address.allowed);  // until its addresses are known
  EXPECT_TRUE(by_address.judge_address(IpAddress::parse("192.0.2.1").value()).allowed);
  EXPECT_EQ(by_address.judge_address(IpAddress::parse("198.51.100.1").value()).reason,
            Reason::port_not_allowed);
  EXPECT_EQ(by_address.judge_address(IpAddress::parse("203.0.113.1").value()).reason,
            Reason::policy_denied);
}

TEST(PolicyAddresses, ADenyOfTheAddressBeatsAnAllowOfTheName) {
  ProxySettings settings;
  Role r = role("ls");
  r.allow = {"*.example.com"};
  r.deny = {"169.254.0.0/16"};
  settings.policy.roles = {r};
  Decision d = decide(settings, {"rebound.example.com", 443});
  ASSERT_TRUE(d.allowed);
  const auto metadata = IpAddress::parse("169.254.169.254").value();
  AddressVerdict v = d.judge_address(metadata);
  EXPECT_FALSE(v.allowed);
  EXPECT_EQ(v.rule, "proxy.policy.roles.ls.deny: 169.254.0.0/16");
  EXPECT_TRUE(d.judge_address(IpAddress::parse("192.0.2.1").value()).allowed);

  settings.policy.roles[0].action = RoleAction::report;
  d = decide(settings, {"rebound.example.com", 443});
  v = d.judge_address(metadata);
  EXPECT_TRUE(v.allowed);
  EXPECT_TRUE(v.reported);
}

TEST(PolicyAddresses, AnAllowOfTheAddressIsEnoughForAName) {
  ProxySettings settings;
  Role r = role("ls");
  r.allow = {"192.0.2.0/24"};
  r.deny = {"bad.example.com"};
  settings.policy.roles = {r};
  const Decision d = decide(settings, {"db.example.com", 443});
  ASSERT_TRUE(d.allowed);
  const AddressVerdict inside = d.judge_address(IpAddress::parse("192.0.2.1").value());
  EXPECT_TRUE(inside.allowed);
  EXPECT_EQ(inside.rule, "proxy.policy.roles.ls.allow: 192.0.2.0/24");
  const AddressVerdict outside = d.judge_address(IpAddress::parse("198.51.100.1").value());
  EXPECT_FALSE(outside.allowed);
  EXPECT_EQ(outside.rule, "proxy.policy.roles.ls.allow: nothing there fits");
  EXPECT_FALSE(decide(settings, {"bad.example.com", 443}).allowed);
}

TEST(PolicyAddresses, ARuleThatCannotBeReadNeverOpens) {
  ProxySettings settings;
  Role r = role("ls");
  r.allow = {"*"};
  r.deny = {"not a rule"};
  settings.policy.roles = {r};
  EXPECT_FALSE(decide(settings, {"example.com", 443}).allowed);
}

}  // namespace
}  // namespace oceanid::proxy
