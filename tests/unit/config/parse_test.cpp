#include "gateway/config/parse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid {
namespace {

ParseContext user_context() {
  ParseContext out;
  out.host_name = "Styx_7.example.net";
  return out;
}

TEST(DefaultConfig, IsAPlainProxy) {
  const Config c = default_config(user_context());
  ASSERT_EQ(c.proxy.listeners.size(), 1U);
  EXPECT_EQ(c.proxy.listeners[0].bind.to_string(), "[::]:3128");
  EXPECT_EQ(c.admin_bind.to_string(), "127.0.0.1:2000");
  EXPECT_FALSE(c.tunnel || c.routing || c.serve_exit);
  EXPECT_TRUE(c.exits.empty() && c.forwards.empty());
  EXPECT_TRUE(unavailable(c).empty());
}

TEST(DefaultConfig, NamesTheNodeAfterTheHost) {
  ParseContext context = user_context();
  EXPECT_EQ(default_config(context).node, "styx-7");
  context.host_name = "";
  EXPECT_EQ(default_config(context).node, "localhost");
  context.host_name = std::string(300, 'x');
  EXPECT_EQ(default_config(context).node, std::string(63, 'x'));
}

struct Folders {
  const char* what;
  bool root;
  std::optional<std::string> state_home, runtime_dir, home;
  std::string state_dir;
  std::optional<std::string> run_dir;
};

TEST(DefaultConfig, FoldersFollowTheSurroundings) {
  const std::vector<Folders> table = {
      {"root", true, "/x", "/y", "/root", "/var/lib/oceanid", "/run/oceanid"},
      {"XDG", false, "/x", "/y", "/home/a", "/x/oceanid", "/y/oceanid"},
      {"home only", false, {}, {}, "/home/a", "/home/a/.local/state/oceanid", {}},
      {"relative XDG paths do not count",
       false,
       "x",
       "y",
       "/home/a",
       "/home/a/.local/state/oceanid",
       {}},
      {"nothing", false, {}, {}, {}, "/var/lib/oceanid", {}},
  };
  for (const Folders& row : table) {
    ParseContext context = user_context();
    context.root = row.root;
    context.xdg_state_home = row.state_home;
    context.xdg_runtime_dir = row.runtime_dir;
    context.home = row.home;
    const Config c = default_config(context);
    EXPECT_EQ(c.state_dir, row.state_dir) << row.what;
    EXPECT_EQ(c.run_dir, row.run_dir) << row.what;
  }
}

TEST(Parse, NothingSaidIsTheDefault) {
  for (const char* text : {"", "\n", "# only words\n", "---\n", "null\n", "{}"}) {
    const auto config = parse(text, user_context());
    ASSERT_TRUE(config.has_value()) << text;
    EXPECT_EQ(*config, default_config(user_context())) << text;
  }
}

TEST(Parse, TakesASingleValueForAList) {
  const auto list = parse("proxy: { clients: [10.0.0.0/8], connect_ports: [443] }", user_context());
  const auto single = parse("proxy: { clients: 10.0.0.0/8, connect_ports: 443 }", user_context());
  ASSERT_TRUE(list && single);
  EXPECT_EQ(*list, *single);
}

TEST(Parse, APinIsOneExitOrSeveralOrNone) {
  const auto pin = [](const std::string& text) {
    const auto config = parse("proxy: { policy: { roles: [ { name: a, exit: " + text +
                                  " } ] } }\nexits: [ { name: one, self: true }, { name: two, "
                                  "interface: eth1 } ]\nserve_exit: { uplink: eth0 }",
                              user_context());
    return config ? config->proxy.policy.roles.at(0).exit : ExitPin{{"(refused)"}};
  };
  EXPECT_EQ(pin("one"), (ExitPin{{"one"}}));
  EXPECT_EQ(pin("[two, one]"), (ExitPin{{"two", "one"}}));
  EXPECT_EQ(pin("null"), ExitPin());
  EXPECT_EQ(pin("[]"), (ExitPin{{"(refused)"}})) << "held to nothing";
}

TEST(Parse, AListReplacesTheDefault) {
  const auto config = parse("proxy: { listeners: [], clients: [] }", user_context());
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->proxy.listeners.empty());
  EXPECT_TRUE(config->proxy.clients.empty());
}

TEST(Parse, RunDirNullMeansNoControlSocket) {
  ParseContext context = user_context();
  context.root = true;
  const auto config = parse("run_dir: null", context);
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->run_dir.has_value());
}

struct DurationCase {
  const char* text;
  std::chrono::milliseconds value;
};

TEST(Parse, DurationsHaveFiveUnits) {
  using namespace std::chrono_literals;
  for (const auto& [text, value] : std::vector<DurationCase>{{"1ms", 1ms},
                                                             {"200ms", 200ms},
                                                             {"5s", 5s},
                                                             {"10m", 10min},
                                                             {"1h", 1h},
                                                             {"90d", 90 * 24h},
                                                             {"3650d", 3650 * 24h}}) {
    const auto config =
        parse(std::string("proxy: { timeouts: { idle: ") + text + " } }", user_context());
    ASSERT_TRUE(config.has_value()) << text;
    EXPECT_EQ(config->proxy.timeouts.idle, value) << text;
  }
}

TEST(Parse, BandwidthHasThreeUnits) {
  const auto bits = [](const std::string& text) {
    const auto config =
        parse("proxy: { policy: { roles: [ { name: a, limits: { bandwidth: " + text + " } } ] } }",
              user_context());
    return config ? config->proxy.policy.roles.at(0).limits.bandwidth_bits : UINT64_MAX;
  };
  EXPECT_EQ(bits("64kbit/s"), 64'000U);
  EXPECT_EQ(bits("100Mbit/s"), 100'000'000U);
  EXPECT_EQ(bits("10Gbit/s"), 10'000'000'000U);
  EXPECT_EQ(bits("18446744074Gbit/s"), UINT64_MAX);  // does not fit 64 bits
}

TEST(Parse, OverlayKnowsTheWordsThatYamlToolsWrite) {
  for (const char* text : {"on", "true"})
    EXPECT_TRUE(
        parse(std::string("tunnel: { overlay: ") + text + " }", user_context())->tunnel->overlay);
  for (const char* text : {"off", "false"})
    EXPECT_FALSE(
        parse(std::string("tunnel: { overlay: ") + text + " }", user_context())->tunnel->overlay);
}

TEST(Parse, MtuHasItsRange) {
  for (const char* text : {"1200", "8928", "auto"})
    EXPECT_TRUE(parse(std::string("tunnel: { mtu: ") + text + " }", user_context()).has_value())
        << text;
}

TEST(Parse, SixteenLevelsAreRead) {
  const std::string deep = "node: " + std::string(15, '[') + std::string(15, ']');
  const auto config = parse(deep, user_context());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().at(0).path, "node");
}

TEST(Parse, RefusesMoreThanAMebibyte) {
  const std::string comment(max_config_bytes, '#');
  EXPECT_TRUE(parse(comment, user_context()).has_value());
  const auto config = parse(comment + "#", user_context());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().at(0).message,
            "found more than 4 MiB; allowed: a configuration of up to 4 MiB");
}

TEST(Parse, ListsTwoHundredProblemsAndCountsTheRest) {
  std::string text;
  for (int i = 0; i < 250; ++i)
    text += "unknown" + std::to_string(i) + ": 1\n";
  const auto config = parse(text, user_context());
  ASSERT_FALSE(config);
  ASSERT_EQ(config.error().size(), 201U);
  EXPECT_EQ(config.error().back().message, "50 more problems from here on");
  EXPECT_EQ(config.error().back().line, 201U);
}

TEST(Problem, WithoutAPlaceNamesTheFileAlone) {
  EXPECT_EQ((Problem{0, 0, "tunnel.tls", "text"}).to_string("a.yaml"), "a.yaml: tunnel.tls: text");
  EXPECT_EQ((Problem{3, 7, "", "text"}).to_string("a.yaml"), "a.yaml:3:7: text");
}

}  // namespace
}  // namespace oceanid
