#include "proxy/edge/exit_choice.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

ExitState exit_named(const std::string& name, bool usable = true) {
  ExitState out;
  out.name = name;
  out.device = IfName::parse("oc-" + name).value();
  out.usable = usable;
  out.ipv4 = true;
  return out;
}

class ExitChoices : public ::testing::Test {
 protected:
  std::string chosen(const ExitPin& pin) const {
    const auto choice = choose_exit(&table, true, pin);
    return choice ? choice->name : "none";
  }
  ExitTable table{{exit_named("one"), exit_named("two"), exit_named("three")}, 1};
};

TEST_F(ExitChoices, WithoutAPinTheSelectedOne) {
  EXPECT_EQ(chosen({}), "two");
  table.exits[1].usable = false;
  EXPECT_EQ(chosen({}), "none") << "selecting is not our business";
}

TEST_F(ExitChoices, OfAPinTheFirstUsableOne) {
  const ExitPin pin{{"three", "one"}};
  EXPECT_EQ(chosen(pin), "three");
  table.exits[2].usable = false;
  EXPECT_EQ(chosen(pin), "one");
  table.exits[0].usable = false;
  EXPECT_EQ(chosen(pin), "none") << "two is not named";
  EXPECT_EQ(chosen(ExitPin{{"gone"}}), "none");
}

TEST_F(ExitChoices, WhatHasFailedLatelyWaitsBehindTheOthersOfThePin) {
  const ExitPin pin{{"three", "one"}};
  table.exits[2].reserve = true;
  EXPECT_EQ(chosen(pin), "one");
  table.exits[0].usable = false;
  EXPECT_EQ(chosen(pin), "three") << "better than none";
}

TEST_F(ExitChoices, AnotherOneStaysWithinThePin) {
  const ExitPin pin{{"three", "one"}};
  EXPECT_EQ(another_exit(&table, pin, {"three"})->name, "one");
  EXPECT_FALSE(another_exit(&table, pin, {"three", "one"}));
  EXPECT_EQ(another_exit(&table, {}, {"one"})->name, "two");
}

TEST(NoExit, NamesWhatTheRequestIsHeldTo) {
  EXPECT_EQ(none_usable({}), "no exit is usable");
  EXPECT_EQ(none_usable(ExitPin{{"one"}}), "exit one is not usable");
  EXPECT_EQ(none_usable(ExitPin{{"one", "two"}}), "none of the exits one, two is usable");
}

}  // namespace
}  // namespace oceanid::proxy
