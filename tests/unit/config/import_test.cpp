#include "gateway/config/import_smokescreen.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oceanid::config {
namespace {

constexpr std::string_view sample = R"(---
version: v1
services:
  - name: enforce-srv
    project: usersec
    action: enforce
    allowed_domains:
      - example1.com
      - badexample1.com # before the global deny list
  - name: Report.Srv
    project: security
    action: report
    allowed_domains: [example3.com]
  - name: open-srv
    project: automation
    action: open
  - name: dummy-glob
    project: phony
    action: enforce
    allowed_domains: ["*.example.com"]
    mitm_domains: [{ domain: "*.example.com" }]
default:
  project: other
  action: report
  allowed_domains: [default.example.com]
global_allow_list: [goodexample1.com, conflictingexample.com]
global_deny_list: [badexample1.com, x.example.com, conflictingexample.com]
)";

proxy::PolicySettings policy_of(const ImportedPolicy& imported) {
  const auto config = parse(imported.yaml, {});
  EXPECT_TRUE(config) << imported.yaml << config.error().front().to_string("imported");
  return config ? config->proxy.policy : proxy::PolicySettings();
}

TEST(ImportSmokescreen, BecomesAPolicyThatOursAccepts) {
  const auto imported = import_smokescreen(sample);
  ASSERT_TRUE(imported) << imported.error().front().to_string("acl");
  const auto policy = policy_of(*imported);
  ASSERT_EQ(policy.roles.size(), 5U);
  using List = std::vector<std::string>;
  EXPECT_EQ(policy.default_action, proxy::PolicyDefault::deny);
  EXPECT_EQ(policy.roles[0].name, "enforce-srv");
  EXPECT_EQ(policy.roles[0].certificates, List{"enforce-srv"});
  EXPECT_EQ(policy.roles[0].allow, (List{"example1.com", "badexample1.com", "goodexample1.com"}));
  EXPECT_EQ(policy.roles[0].deny, (List{"x.example.com", "conflictingexample.com"}));
  EXPECT_EQ(policy.roles[1].name, "report-srv");
  EXPECT_EQ(policy.roles[1].certificates, List{"Report.Srv"});
  EXPECT_EQ(policy.roles[1].action, proxy::RoleAction::report);
  EXPECT_EQ(policy.roles[2].action, proxy::RoleAction::open);
  EXPECT_EQ(policy.roles[4].name, "everybody");
  EXPECT_TRUE(policy.roles[4].certificates.empty());
  EXPECT_EQ(policy.roles[4].action, proxy::RoleAction::report);
  const auto warned = [&](std::string_view part) {
    for (const std::string& warning : imported->warnings)
      if (warning.contains(part)) return true;
    return false;
  };
  EXPECT_TRUE(warned("mitm_domains"));
  EXPECT_TRUE(warned("x.example.com is denied"));  // the service's own *.example.com wins there
  EXPECT_TRUE(warned("even in report mode"));
}

TEST(ImportSmokescreen, ADefaultWithoutListsIsOurDefault) {
  const auto with = [](std::string_view action) {
    const auto imported =
        import_smokescreen("version: v1\nservices: []\ndefault: { action: " + std::string(action) +
                           ", project: x }\n");
    EXPECT_TRUE(imported);
    const auto policy = policy_of(*imported);
    EXPECT_TRUE(policy.roles.empty());
    return policy.default_action;
  };
  EXPECT_EQ(with("enforce"), proxy::PolicyDefault::deny);
  EXPECT_EQ(with("report"), proxy::PolicyDefault::report);
  EXPECT_EQ(with("open"), proxy::PolicyDefault::allow);
  EXPECT_EQ(policy_of(*import_smokescreen("version: v1\nservices: []\n")).default_action,
            proxy::PolicyDefault::deny);
}

TEST(ImportSmokescreen, WhatItIsNotIsRefusedWithItsPlace) {
  for (const std::string_view text :
       {"", "version: v2\nservices: []\n", "version: v1\n",
        "version: v1\nservices:\n  - { name: a, action: perhaps }\n",
        "version: v1\nservices:\n  - { action: open }\n",
        "version: v1\nservices:\n  - { name: a, action: open, allowed_domains: [\"*\"] }\n",
        "version: v1\nservices:\n  - { name: a, action: open, allowed_domains: [\"a.*.com\"] }\n",
        "a: &x [*x]\n"}) {
    const auto imported = import_smokescreen(text);
    ASSERT_FALSE(imported) << text;
    EXPECT_FALSE(imported.error().empty());
  }
}

}  // namespace
}  // namespace oceanid::config
