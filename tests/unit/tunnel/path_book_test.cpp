#include "tunnel/core/path_book.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

TEST(PathBook, GoesThereAndBack) {
  const PathBook book{{"oc:tethys/4", 1388}, {"oc:tethys/6", 1488}, {"hub:styx/4", 8988}};
  EXPECT_EQ(decode_paths(encode_paths(book)), book);
}

TEST(PathBook, ADamagedLineIsLeftOut) {
  EXPECT_EQ(
      decode_paths("oc:a/4 1388\n 1300\nnothing\noc:b/4 12x\noc:c/4 100\noc:d/4 9001\noc:e/4 1300"),
      (PathBook{{"oc:a/4", 1388}, {"oc:e/4", 1300}}));
}

TEST(PathBook, IsBounded) {
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += "oc:" + std::to_string(i) + "/4 1400\n";
  EXPECT_EQ(decode_paths(text).size(), max_known_paths);
}

}  // namespace
}  // namespace oceanid::tunnel
