// tests/config as a table: every bad file with its exact messages, and what the good files mean.
#include "gateway/config/parse.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid {
namespace {

namespace fs = std::filesystem;

const fs::path source_dir = OCEANID_SOURCE_DIR;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<fs::path> yaml_files(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".yaml") out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

ParseContext context() {
  ParseContext out;
  out.host_name = "styx.example.net";
  out.root = true;
  return out;
}

std::string lines(const std::vector<Problem>& problems, const fs::path& file) {
  std::string out;
  for (const Problem& problem : problems)
    out += problem.to_string(file.filename().string()) + "\n";
  return out;
}

std::expected<Config, std::vector<Problem>> parse_file(const fs::path& file) {
  return parse(read_file(file), context());
}

Config parse_good(const fs::path& file) {
  auto config = parse_file(file);
  EXPECT_TRUE(config.has_value()) << lines(config.error(), file);
  return config ? *config : Config{};
}

std::string name_of(const testing::TestParamInfo<fs::path>& info) {
  std::string out = info.param.stem().string();
  std::ranges::replace(out, '-', '_');
  return out;
}

class BadFile : public testing::TestWithParam<fs::path> {};

TEST_P(BadFile, IsRefusedWithTheseWords) {
  const auto config = parse_file(GetParam());
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(lines(config.error(), GetParam()),
            read_file(fs::path(GetParam()).replace_extension(".expected")));
}

INSTANTIATE_TEST_SUITE_P(Config, BadFile,
                         testing::ValuesIn(yaml_files(source_dir / "tests/config/bad")), name_of);

TEST(GoodFiles, NoKeyIsForALaterVersion) {
  const Config c = parse_good(source_dir / "tests/config/good/everything.yaml");
  EXPECT_EQ(unavailable(c), std::vector<Problem>());
}

TEST(BadFiles, AreMany) {
  EXPECT_GE(yaml_files(source_dir / "tests/config/bad").size(), 170U);
}

// What operators start from must work in the version it is shipped with.
TEST(ShippedFiles, AreValidAndAvailable) {
  auto files = yaml_files(source_dir / "deploy/examples");
  EXPECT_EQ(files.size(), 5U);
  for (const char* folder :
       {"deploy/kubernetes/base/nodes", "deploy/kubernetes/overlays/proxy-only"})
    for (const fs::path& file : yaml_files(source_dir / folder))
      if (file.filename() == "oceanid.yaml" || file.parent_path().filename() == "nodes")
        files.push_back(file);
  EXPECT_GE(files.size(), 10U);
  for (const fs::path& file : files) {
    const auto config = parse_file(file);
    ASSERT_TRUE(config.has_value()) << lines(config.error(), file);
    EXPECT_EQ(lines(unavailable(*config), file), "");
  }
}

TEST(GoodFiles, DefaultsAreThoseOfTheDesign) {
  const fs::path folder = source_dir / "tests/config/good";
  EXPECT_EQ(parse_good(folder / "defaults-written-out.yaml"), default_config(context()));
  EXPECT_EQ(parse_good(folder / "section-defaults.yaml"),
            parse_good(folder / "section-defaults-written-out.yaml"));
}

TEST(GoodFiles, EveryKeyArrives) {
  const Config c = parse_good(source_dir / "tests/config/good/everything.yaml");
  const auto& listeners = c.proxy.listeners;
  ASSERT_EQ(listeners.size(), 4U);
  EXPECT_EQ(c.state_dir, "/srv/oceanid/state");
  EXPECT_EQ(c.run_dir, "/srv/oceanid/run");
  EXPECT_EQ(c.log, (LogSettings{LogLevel::debug, LogFormat::text, false}));
  EXPECT_EQ(c.admin_bind.to_string(), "[::1]:2001");
  EXPECT_EQ(c.proxy.workers, 2U);
  EXPECT_TRUE(listeners[0].proxy_protocol);
  EXPECT_EQ(listeners[0].trusted.at(1).to_string(), "2001:db8::/64");
  EXPECT_EQ(listeners[1].tls->crl, "crl.pem");
  EXPECT_EQ(listeners[2].protocol, proxy::ListenerProtocol::socks5);
  EXPECT_EQ(listeners[3].intercept->ports, (std::vector<std::uint16_t>{443}));
  EXPECT_TRUE(listeners[3].takes_by_tproxy());
  EXPECT_TRUE(c.proxy.connect_ports.empty());
  const auto& role = c.proxy.policy.roles.at(0);
  EXPECT_EQ(role.users, (std::vector<std::string>{"ls"}));
  EXPECT_EQ(role.certificates, (std::vector<std::string>{"ls.apps"}));
  EXPECT_EQ(role.sources.at(0).to_string(), "10.42.1.0/24");
  EXPECT_EQ(role.limits, (proxy::RoleLimits{200, 50, 100'000'000}));
  EXPECT_EQ(c.proxy.dns.servers.at(0).to_string(), "192.0.2.53:53");
  EXPECT_EQ(c.proxy.dns.servers.at(1).to_string(), "192.0.2.54:5353");
  EXPECT_EQ(c.proxy.dns.servers.at(3).to_string(), "[2001:db8::54]:53");
  EXPECT_EQ(c.proxy.timeouts.idle, std::chrono::hours(24));
  ASSERT_TRUE(c.proxy.parent);
  EXPECT_EQ(c.proxy.parent->at.to_string(), "proxy.example.net:8080");
  EXPECT_EQ(c.proxy.parent->authorization, "Basic dXNlcjpwYXNz");
}

TEST(GoodFiles, EveryKeyOfTheNetworkArrives) {
  const Config c = parse_good(source_dir / "tests/config/good/everything.yaml");
  ASSERT_EQ(c.forwards.size(), 2U);
  EXPECT_EQ(c.forwards[0].to.at(1).to_string(), "192.0.2.5:5433");
  EXPECT_EQ(c.forwards[0].clients->at(0).to_string(), "10.42.1.0/24");
  EXPECT_FALSE(c.forwards[1].clients.has_value());
  ASSERT_TRUE(c.tunnel && c.serve_exit && c.routing);
  EXPECT_EQ(c.tunnel->key_lifetime, std::chrono::days(30));
  EXPECT_EQ(c.tunnel->listen, 443);
  EXPECT_EQ(c.tunnel->mtu, 1380U);
  EXPECT_TRUE(c.tunnel->overlay);
  EXPECT_EQ(c.tunnel->addresses.at(1).to_string(), "fd99::3");
  EXPECT_EQ(c.tunnel->peers.at(0).tls->proxy, "http://proxy.example.net:3128");
  EXPECT_EQ(c.tunnel->peers.at(0).keepalive, std::chrono::seconds(0));
  EXPECT_EQ(c.tunnel->peers.at(1).endpoint->to_string(), "[2001:db8::20]:51820");
  EXPECT_EQ(c.tunnel->peers.at(2).via, "meliae");
  ASSERT_EQ(c.exits.size(), 4U);
  EXPECT_TRUE(c.exits[2].self);
  EXPECT_EQ(c.exits[3].interface->str(), "tailscale0");
  EXPECT_EQ(c.exits[3].gateway->to_string(), "100.64.0.1");
  EXPECT_EQ(std::get<routing::SnatMap>(c.serve_exit->snat).size(), 2U);
  EXPECT_EQ(c.routing->mark, (Mark{0x10000000, 0xf0000000}));
  EXPECT_EQ(c.routing->table, 4000U);
  EXPECT_FALSE(c.serve_exit->accounting);
  EXPECT_EQ(c.serve_exit->per_client, 500U);
  ASSERT_EQ(c.routing->selection.size(), 3U);
  const routing::SelectionRule& backups = c.routing->selection[0];
  EXPECT_EQ(backups.sources.at(0).to_string(), "10.42.1.16/28");
  EXPECT_EQ(backups.destinations.at(0).to_string(), "198.51.100.64/28");
  EXPECT_EQ(backups.ports, (std::vector<std::uint16_t>{873, 22}));
  EXPECT_EQ(backups.protocol, routing::Transport::tcp);
  EXPECT_EQ(backups.exit, "none");
  EXPECT_FALSE(c.routing->selection[1].protocol);
  EXPECT_EQ(c.routing->selection[1].exit, "meliae");
  EXPECT_EQ(c.routing->interfaces.at(1).str(), "nodelocaldns");
  EXPECT_EQ(c.health.hold, std::chrono::seconds(0));
  ASSERT_EQ(c.health.targets.size(), 6U);
  EXPECT_EQ(c.health.targets[3], (tunnel::HealthTarget{tunnel::HealthTarget::Kind::http,
                                                       "https://www.example.net/health", 204}));
  EXPECT_EQ(c.health.exit_ip.expect.at(0).to_string(), "203.0.113.10");
}

TEST(GoodFiles, MayComeFromWindows) {
  const Config c = parse_good(source_dir / "tests/config/good/windows.yaml");
  EXPECT_EQ(c.node, "styx");
  EXPECT_EQ(c.log.level, LogLevel::warn);
}

}  // namespace
}  // namespace oceanid
