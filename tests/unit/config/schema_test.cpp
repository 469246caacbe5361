// The committed schema and reference document are what the table of keys says. To write them anew,
// run this program with OCEANID_WRITE_GENERATED=1 in its environment.
#include "gateway/config/schema.hpp"

#include "gateway/config/parse.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::config {
namespace {

using testing::HasSubstr;

void expect_committed(const std::string& name, const std::string& generated) {
  const std::string path = std::string(OCEANID_SOURCE_DIR) + "/deploy/" + name;
  if (std::getenv("OCEANID_WRITE_GENERATED") != nullptr) std::ofstream(path) << generated;
  std::ifstream in(path, std::ios::binary);
  const std::string committed{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(committed == generated)
      << name << " differs; run unit_config with OCEANID_WRITE_GENERATED=1 and commit the result";
}

TEST(Schema, IsTheCommittedOne) {
  expect_committed("oceanid.schema.json", json_schema());
}

TEST(Reference, IsTheCommittedOne) {
  expect_committed("CONFIGURATION.md", reference_document());
}

TEST(Reference, NamesKeysDefaultsAndWhatComesLater) {
  const std::string text = reference_document();
  EXPECT_THAT(
      text, HasSubstr("| `proxy.timeouts.connect` | a duration with its unit (ms, s, m, h, d) from "
                      "1ms to 3650d | `\"12s\"` | all attempts at the target together |\n"));
  EXPECT_THAT(
      text,
      HasSubstr("| `tunnel.peers[].name` | a name of 1 to 9 characters out of a-z, 0-9 and - | "
                "required |"));
  EXPECT_THAT(text,
              HasSubstr("| `routing.interfaces` | one or more of: an interface name of up to 15 "
                        "characters | `[\"cni0\"]` |"));
}

}  // namespace
}  // namespace oceanid::config
