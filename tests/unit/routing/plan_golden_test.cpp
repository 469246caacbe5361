// The whole desired state of every example node, byte for byte. OCEANID_UPDATE_GOLDEN=1 writes the
// files anew; read the difference before committing it.

#include "plan_inputs.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

using Golden = testing::TestWithParam<std::string>;

std::string file_of(const std::string& example) {
  return std::string(OCEANID_SOURCE_DIR) + "/tests/golden/routing/" + example + ".txt";
}

void compare(const std::string& example, const std::string& text) {
  if (std::getenv("OCEANID_UPDATE_GOLDEN") != nullptr) {
    std::filesystem::create_directories(std::string(OCEANID_SOURCE_DIR) + "/tests/golden/routing");
    std::ofstream(file_of(example), std::ios::binary) << text;
    FAIL() << file_of(example) << " was written anew; run again without OCEANID_UPDATE_GOLDEN";
  }
  std::ifstream file(file_of(example), std::ios::binary);
  ASSERT_TRUE(file) << file_of(example);
  const std::string expected((std::istreambuf_iterator<char>(file)),
                             std::istreambuf_iterator<char>());
  EXPECT_EQ(text, expected);
}

TEST_P(Golden, PlanIsAsRecorded) {
  compare(GetParam(), to_text(plan(examples::all().at(GetParam()))));
}

std::vector<std::string> example_names() {
  std::vector<std::string> out;
  for (const auto& [example, inputs] : examples::all())
    out.push_back(example);
  return out;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string out = info.param;
  std::erase(out, '-');
  return out;
}

INSTANTIATE_TEST_SUITE_P(Examples, Golden, testing::ValuesIn(example_names()), test_name);

TEST(GoldenGuard, GuardOfAWorkerIsAsRecorded) {
  compare("styx-guard", to_text(guard_plan(examples::styx())));
}
TEST(GoldenGuard, GuardOfAnExitIsAsRecorded) {
  compare("tethys-guard", to_text(guard_plan(examples::tethys())));
}

}  // namespace
}  // namespace oceanid::routing
