#include "gateway/process/config_memory.hpp"

#include "gateway/process/routing_inputs.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string routed(const std::string& sources, const std::string& confirm,
                   const std::string& proxy = "{}") {
  return "exits: [{ name: far, interface: far0 }]\nproxy: " + proxy + "\nrouting: { sources: [" +
         sources + "], confirm: " + confirm + " }\n";
}

LoadedConfig loaded(const std::string& text) {
  LoadedConfig out = load_config_text("/etc/oceanid/oceanid.yaml", text);
  EXPECT_TRUE(out.config) << all_problems(out);
  return out;
}

class ConfigMemoryTest : public testing::Test {
 protected:
  ConfigMemoryTest() {
    std::string name = (fs::temp_directory_path() / "oceanid-memory-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~ConfigMemoryTest() override { fs::remove_all(folder_); }
  ConfigMemory again() const { return ConfigMemory(folder_.string()); }

  fs::path folder_;
  const std::string good = routed("10.42.1.0/24", "30s");
  const std::string other = routed("10.42.2.0/24", "30s");
};

TEST_F(ConfigMemoryTest, WhatStandsAndWhatWaitsSurvivesTheProcess) {
  ConfigMemory memory = again();
  EXPECT_TRUE(memory.last_good().empty());
  ASSERT_TRUE(memory.accept(good));
  ASSERT_TRUE(memory.set_unconfirmed(other));
  EXPECT_EQ(again().last_good(), good);
  EXPECT_EQ(again().unconfirmed(), other);
  struct stat info{};
  ASSERT_EQ(::stat((folder_ / "last_good.yaml").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U) << "it may hold a parent proxy's password";
  ASSERT_TRUE(memory.accept(other));
  EXPECT_EQ(again().last_good(), other);
  EXPECT_TRUE(again().unconfirmed().empty());
}

// Nothing can be written while it lives; names can still be changed, as on a full disk.
class NoRoom {
 public:
  NoRoom() {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoRoom() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;

 private:
  rlimit before_{};
  decltype(SIG_DFL) handler_ = std::signal(SIGXFSZ, SIG_IGN);
};

TEST_F(ConfigMemoryTest, AConfirmationNeedsNoRoom) {
  ConfigMemory memory = again();
  ASSERT_TRUE(memory.accept(good));
  ASSERT_TRUE(memory.set_unconfirmed(other));
  {
    const NoRoom full;
    EXPECT_TRUE(memory.accept(other));
  }
  EXPECT_EQ(memory.last_good(), other);
  EXPECT_EQ(again().last_good(), other);
  EXPECT_TRUE(again().unconfirmed().empty());
}

TEST_F(ConfigMemoryTest, AFullDiskKeepsWhatItHas) {
  ConfigMemory memory = again();
  ASSERT_TRUE(memory.accept(good));
  {
    const NoRoom full;
    const auto kept = memory.set_unconfirmed(other);
    ASSERT_FALSE(kept);
    EXPECT_NE(kept.error().what.find((folder_ / "unconfirmed.yaml").string()), std::string::npos);
    EXPECT_EQ(memory.unconfirmed(), other) << "this process knows what waits all the same";
    EXPECT_FALSE(memory.accept(other));
  }
  EXPECT_EQ(again().last_good(), good);
  EXPECT_TRUE(again().unconfirmed().empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "nothing half-written";
  EXPECT_TRUE(choose_start(loaded(other), again()).former) << "the next start asks again";
  ASSERT_TRUE(memory.accept(other)) << "with room, the same once more";
  EXPECT_EQ(again().last_good(), other);
}

TEST_F(ConfigMemoryTest, AStartWithAChangedRoutingIsOnProbation) {
  ConfigMemory memory = again();
  EXPECT_FALSE(choose_start(loaded(other), memory).former)
      << "the first start has nothing to go back to";
  ASSERT_TRUE(memory.accept(good));
  EXPECT_FALSE(choose_start(loaded(good), memory).former);
  const StartConfig changed = choose_start(loaded(other), memory);
  ASSERT_TRUE(changed.former);
  EXPECT_EQ(changed.former->text, good);
  EXPECT_EQ(changed.loaded.text, other);
  EXPECT_TRUE(changed.passed_over.empty());
  // The proxy's own business is not.
  EXPECT_FALSE(
      choose_start(loaded(routed("10.42.1.0/24", "30s", "{ connect_ports: [443] }")), memory)
          .former);
}

TEST_F(ConfigMemoryTest, AStartPassesOverWhatWasNeverConfirmed) {
  ConfigMemory memory = again();
  ASSERT_TRUE(memory.accept(good));
  ASSERT_TRUE(memory.set_unconfirmed(other));
  const StartConfig start = choose_start(loaded(other), memory);
  EXPECT_EQ(start.loaded.text, good);
  EXPECT_FALSE(start.former) << "nothing to wait for";
  EXPECT_NE(start.passed_over.find("never confirmed"), std::string::npos);
  // Another change of the file is another chance.
  EXPECT_EQ(choose_start(loaded(routed("10.42.3.0/24", "30s")), memory).loaded.text,
            routed("10.42.3.0/24", "30s"));
}

TEST_F(ConfigMemoryTest, AChangedListIsAChange) {
  const std::string list = (folder_ / "list").string();
  const std::string text =
      "exits: [{ name: far, interface: far0 }]\nrouting: { sources: "
      "[10.42.1.0/24], confirm: 30s, bypass_file: " +
      list + " }\n";
  const auto with = [&](const std::string& prefixes) {
    std::ofstream(list) << prefixes;
    return loaded(text);
  };
  ConfigMemory memory = again();
  const LoadedConfig before = with("192.0.2.0/24\n");
  ASSERT_TRUE(memory.accept(to_record(before)));
  const LoadedConfig changed = with("0.0.0.0/0\n");
  const StartConfig start = choose_start(changed, memory);
  ASSERT_TRUE(start.former);
  EXPECT_EQ(*start.former->config, *before.config);
  ASSERT_TRUE(memory.set_unconfirmed(to_record(changed)));
  const StartConfig later = choose_start(changed, again());
  EXPECT_EQ(*later.loaded.config, *before.config);
  EXPECT_FALSE(later.passed_over.empty());
}

TEST_F(ConfigMemoryTest, WithoutConfirmNothingWaits) {
  ConfigMemory memory = again();
  ASSERT_TRUE(memory.accept(routed("10.42.1.0/24", "0s")));
  EXPECT_FALSE(choose_start(loaded(routed("10.42.2.0/24", "0s")), memory).former);
  EXPECT_TRUE(choose_start(loaded(other), memory).former);
}

TEST(ProbationTime, TheLongerWishCounts) {
  const auto config = [](const char* confirm) {
    return *loaded(routed("10.42.1.0/24", confirm)).config;
  };
  EXPECT_EQ(probation_time(config("30s"), config("0s")), 30s)
      << "switching it off is confirmed too";
  EXPECT_EQ(probation_time(config("0s"), config("10s")), 10s);
  EXPECT_EQ(probation_time(config("0s"), config("0s")), 0s);
}

TEST(SameKernelState, HowAChangeIsMadeIsNoChange) {
  const auto config = [](const std::string& text) { return *loaded(text).config; };
  EXPECT_TRUE(same_kernel_state(config(routed("10.42.1.0/24", "30s")),
                                config(routed("10.42.1.0/24", "0s"))));
  EXPECT_FALSE(same_kernel_state(config(routed("10.42.1.0/24", "0s")),
                                 config(routed("10.42.2.0/24", "0s"))));
  // A listener is guarded in the kernel.
  EXPECT_FALSE(
      same_kernel_state(config(routed("10.42.1.0/24", "0s")),
                        config(routed("10.42.1.0/24", "0s", "{ clients: [10.42.1.0/24] }"))));
}

}  // namespace
}  // namespace oceanid::process
