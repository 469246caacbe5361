// Lists of destinations in files of their own, and long ones in the configuration itself.

#include "gateway/config/prefix_file.hpp"

#include "gateway/config/load.hpp"
#include "routing/core/long_lists.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace oceanid {
namespace {

using config::parse_prefix_file;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

Prefix net(std::string_view text) {
  return Prefix::parse(text).value();
}

TEST(PrefixFile, OneALineWithCommentsBetween) {
  const auto file = parse_prefix_file(
      "\xef\xbb\xbf# offices\n192.0.2.0/24\r\n\n  2001:db8::/32\t# six\n198.51.100.7");
  EXPECT_THAT(file.problems, IsEmpty());
  EXPECT_THAT(file.prefixes,
              ElementsAre(net("192.0.2.0/24"), net("2001:db8::/32"), net("198.51.100.7/32")));
  EXPECT_THAT(parse_prefix_file("# nothing\n").prefixes, IsEmpty());
}

TEST(PrefixFile, EveryProblemHasItsLine) {
  const auto file =
      parse_prefix_file("192.0.2.0/24\n192.0.2.1/24\n\nexample.net\n10.0.0.0/8,10.1.0.0/16\n");
  EXPECT_THAT(file.problems, ElementsAre(StartsWith("2: found \"192.0.2.1/24\""),
                                         StartsWith("4: found \"example.net\""),
                                         StartsWith("5: found \"10.0.0.0/8,10.1.0.0/16\"")));
  EXPECT_THAT(file.problems[1], HasSubstr("allowed: an address or a prefix such as 10.42.0.0/16"));
}

TEST(PrefixFile, ManyProblemsAreCounted) {
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += "nonsense\n";
  const auto file = parse_prefix_file(text);
  EXPECT_THAT(file.problems, SizeIs(config::max_prefix_problems + 1));
  EXPECT_EQ(file.problems.back(), "5000: 4990 more lines are no address or prefix");
}

TEST(PrefixFile, SizeIsBounded) {
  EXPECT_THAT(parse_prefix_file(std::string(config::max_prefix_file_bytes + 1, '#')).problems,
              ElementsAre(StartsWith("1: found more than 8 MiB")));
  std::string text;
  for (std::size_t i = 0; i <= config::max_prefixes; ++i)
    text += "192.0.2.1\n";
  EXPECT_THAT(parse_prefix_file(text).problems,
              ElementsAre(StartsWith("250001: found more than 250000 prefixes")));
}

class LoadedLists : public testing::Test {
 protected:
  LoadedLists() {
    std::string pattern = std::filesystem::temp_directory_path() / "oceanid-test-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~LoadedLists() override { std::filesystem::remove_all(folder_); }
  LoadedLists(const LoadedLists&) = delete;
  LoadedLists& operator=(const LoadedLists&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
  }
  LoadedConfig load(const std::string& routing) const {
    write("oceanid.yaml",
          "exits: [{ name: out, interface: exit0 }]\nrouting:\n  sources: [10.42.1.0/24]\n" +
              routing);
    return load_config(folder_ + "/oceanid.yaml");
  }
  std::string folder_;
};

std::string numbered(unsigned count, std::string_view separator) {
  std::string out;
  for (unsigned i = 0; i < count; ++i)
    out += fmt::format("{}11.{}.{}.{}", i == 0 ? "" : separator, i >> 15, (i >> 7) & 255,
                       (2 * i) & 255);
  return out;
}

TEST_F(LoadedLists, AreAddedToWhatTheTextNames) {
  write("list", "192.0.2.0/24\n198.51.100.7\n");
  const auto loaded =
      load(fmt::format("  bypass: [10.42.0.0/16]\n  bypass_file: {}/list\n", folder_));
  ASSERT_TRUE(loaded.config) << loaded.problems.front().to_string("");
  EXPECT_THAT(loaded.config->routing->bypass,
              ElementsAre(net("10.42.0.0/16"), net("192.0.2.0/24"), net("198.51.100.7/32")));
  EXPECT_THAT(list_files(*loaded.config), ElementsAre(folder_ + "/list"));
}

TEST_F(LoadedLists, ProblemsNameTheKeyAndTheLineOfTheList) {
  write("list", "192.0.2.0/24\n\n192.0.2.300\n");
  const auto loaded = load(fmt::format("  bypass_file: {}/list\n", folder_));
  ASSERT_THAT(loaded.problems, SizeIs(1));
  EXPECT_EQ(
      loaded.problems[0].to_string("f"),
      fmt::format("f:4:16: routing.bypass_file: {}/list:3: found \"192.0.2.300\"; allowed: an "
                  "address or a prefix such as 10.42.0.0/16",
                  folder_));
  const auto missing = load("  bypass_file: /nonexistent/list\n");
  ASSERT_THAT(missing.problems, SizeIs(1));
  EXPECT_THAT(missing.problems[0].message, HasSubstr("the file cannot be read (No such file"));
}

// What a configuration goes back to must not depend on a file that has changed since.
TEST_F(LoadedLists, ARecordHoldsThemAsTheyWere) {
  const std::string keys = fmt::format(
      "  bypass: [10.42.0.0/16]\n  bypass_file: {0}/list\n  destinations_file: {0}/far", folder_);
  write("list", "192.0.2.0/24 # one\n\n198.51.100.7");
  write("far", "203.0.113.0/24\r\n");
  const auto loaded = load(keys);
  ASSERT_TRUE(loaded.config) << all_problems(loaded);
  const std::string record = to_record(loaded);
  write("list", "192.0.2.300\n");
  std::filesystem::remove(folder_ + "/far");
  const auto again = load_record(loaded.path, record);
  ASSERT_TRUE(again.config) << all_problems(again);
  EXPECT_EQ(*again.config, *loaded.config);
  EXPECT_EQ(again.lists, loaded.lists);
  EXPECT_EQ(to_record(again), record);
  // As a file it is the same configuration with the lists of the day.
  write("list", "");
  write("far", "203.0.113.0/24");
  EXPECT_TRUE(load_config_text(loaded.path, record).config);
}

TEST_F(LoadedLists, ARecordWithoutListsIsTheText) {
  const auto loaded = load("  bypass: [10.42.0.0/16]");
  EXPECT_EQ(to_record(loaded), loaded.text);
}

// No destination means every one: a list that became empty must not turn into its opposite.
TEST_F(LoadedLists, AnEmptyListOfDestinationsIsRefused) {
  write("list", "# nothing yet\n");
  const std::string key = fmt::format("  destinations_file: {}/list\n", folder_);
  const auto empty = load(key);
  ASSERT_THAT(empty.problems, SizeIs(1));
  EXPECT_THAT(empty.problems[0].message, HasSubstr("found no prefix; allowed: one at least"));
  write("list", "203.0.113.0/24\n");
  const auto one = load("  destinations: [192.0.2.0/24]\n" + key);
  ASSERT_TRUE(one.config) << one.problems.front().to_string("");
  EXPECT_THAT(one.config->routing->destinations,
              ElementsAre(net("192.0.2.0/24"), net("203.0.113.0/24")));
}

TEST_F(LoadedLists, LongOnesAreExemptedByMarkFromAFileAndFromTheText) {
  write("list", numbered(100'000, "\n"));
  const auto from_file = load(fmt::format("  bypass_file: {}/list\n", folder_));
  ASSERT_TRUE(from_file.config) << from_file.problems.front().to_string("");
  const auto inline_text = load("  bypass: [10.42.0.0/16, 10.43.0.0/16, 100.64.0.0/10, " +
                                numbered(100'000, ", ") + "]\n");
  ASSERT_TRUE(inline_text.config) << inline_text.problems.front().to_string("");
  for (const auto* loaded : {&from_file, &inline_text}) {
    const auto& routing = *loaded->config->routing;
    EXPECT_EQ(routing.exempt4.size(), 100'000U);
    EXPECT_EQ(routing.bypass.size(), 3U);
  }
  EXPECT_EQ(from_file.config->routing->exempt4, inline_text.config->routing->exempt4);
}

}  // namespace
}  // namespace oceanid
