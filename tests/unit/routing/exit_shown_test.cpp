#include "routing/core/exit_shown.hpp"

#include "plan_inputs.hpp"

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

using examples::address;
using examples::name;

class Shown : public testing::Test {
 protected:
  Shown() {
    uplink_.name = name("eth0");
    uplink_.up = uplink_.carrier = true;
    has("203.0.113.10");
  }
  void has(const char* text, bool secondary = false) {
    AddressFacts facts;
    facts.local.address = address(text);
    facts.secondary = secondary;
    uplink_.addresses.push_back(facts);
  }
  ExitShown of(const Snat& snat) {
    serve_.snat = snat;
    return shown_by_exit(serve_, &uplink_);
  }

  ServeExitSettings serve_;
  LinkFacts uplink_;
};

TEST_F(Shown, ThePublicAddressThatItTranslatesTo) {
  serve_.addresses = {address("203.0.113.10")};
  EXPECT_EQ(of(SnatAuto{}).ipv4, address("203.0.113.10"));
  EXPECT_EQ(of(address("203.0.113.11")).ipv4, address("203.0.113.11")) << "whatever is promised";
  EXPECT_EQ(of(SnatList{address("203.0.113.12"), address("203.0.113.13")}).ipv4,
            address("203.0.113.12"));
  EXPECT_EQ(of(SnatMap{{Prefix::host(address("10.42.0.1")), address("203.0.113.12")}}).ipv4,
            std::nullopt)
      << "each client has its own";
}

TEST_F(Shown, BehindAnotherTranslationTheOperatorKnowsBetter) {
  uplink_.addresses.clear();
  has("10.0.0.5");
  EXPECT_EQ(of(SnatAuto{}).ipv4, std::nullopt);
  EXPECT_EQ(of(address("192.0.0.2")).ipv4, std::nullopt) << "inside a CLAT";
  serve_.addresses = {address("203.0.113.10")};
  EXPECT_EQ(of(SnatAuto{}).ipv4, address("203.0.113.10"));
}

TEST_F(Shown, AFamilyThatIsNotTranslatedHasNoAddress) {
  has("2001:db8:113::10");
  EXPECT_EQ(of(SnatAuto{}).ipv6, address("2001:db8:113::10"));
  EXPECT_EQ(of(address("203.0.113.10")).ipv6, std::nullopt);
}

TEST_F(Shown, OfSeveralTheKernelChooses) {
  EXPECT_EQ(of(SnatMasquerade{}).ipv4, address("203.0.113.10"));
  has("203.0.113.99", true);
  EXPECT_EQ(of(SnatMasquerade{}).ipv4, std::nullopt);
  EXPECT_EQ(of(SnatAuto{}).ipv4, address("203.0.113.10")) << "ours is fixed";
}

TEST_F(Shown, ItServesWithAnUplinkThatIsUpAndAnAddressToLeaveWith) {
  EXPECT_TRUE(of(SnatAuto{}).serves);
  uplink_.addresses.clear();
  EXPECT_FALSE(of(SnatAuto{}).serves);
  EXPECT_FALSE(of(SnatMasquerade{}).serves);
  EXPECT_TRUE(of(address("203.0.113.10")).serves)
      << "it is routed to the node, and stands elsewhere";
  uplink_.carrier = false;
  EXPECT_FALSE(of(address("203.0.113.10")).serves);
  EXPECT_EQ(shown_by_exit(serve_, nullptr), ExitShown{});
}

}  // namespace
}  // namespace oceanid::routing
