#include "gateway/cli/mtu_stack.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::cli {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

auto wrong(const char* layer, const char* text) {
  return AllOf(Field(&MtuFinding::layer, layer), Field(&MtuFinding::wrong, true),
               Field(&MtuFinding::text, HasSubstr(text)));
}
auto note(const char* layer, const char* text) {
  return AllOf(Field(&MtuFinding::layer, layer), Field(&MtuFinding::wrong, false),
               Field(&MtuFinding::text, HasSubstr(text)));
}

MtuFacts peer(unsigned path, unsigned inner) {
  MtuFacts facts;
  facts.target = "tethys";
  facts.card = LinkMtu{"eth0", 1500, {}};
  ipc::TunnelView tunnel;
  tunnel.device = "oc-tethys";
  tunnel.endpoint = "203.0.113.10:51820";
  tunnel.mtu = inner;
  auto& measured = tunnel.path.emplace();
  measured.family = "ipv4";
  measured.state = "complete";
  measured.answered = true;
  measured.bytes = path;
  facts.tunnel = tunnel;
  facts.tunnel_link = inner;
  return facts;
}

TEST(MtuStack, NothingIsWrongWhereEverythingFits) {
  MtuFacts facts = peer(1388, 1328);
  facts.pods = {{"cni0", 1328, {}}};
  EXPECT_THAT(judge_mtu(facts), IsEmpty());
  EXPECT_THAT(mtu_text(facts), HasSubstr("Every layer fits"));
  EXPECT_THAT(mtu_text(facts), HasSubstr("1388"));
}

TEST(MtuStack, AFixedNumberThatIsTooLargeIsNamedWithTheRightOne) {
  EXPECT_THAT(judge_mtu(peer(1388, 1440)), Contains(wrong("tunnel", "set tunnel.mtu to 1328")));
  EXPECT_THAT(judge_mtu(peer(1500, 1280)), Contains(note("tunnel", "1440")));
}

TEST(MtuStack, ALinkThatSomebodyChangedIsNamed) {
  MtuFacts facts = peer(1500, 1440);
  facts.tunnel_link = 1500;
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("tunnel", "ip link set oc-tethys mtu 1440")));
}

TEST(MtuStack, APathTooNarrowForIpv6SaysWhatItWouldNeed) {
  MtuFacts facts = peer(1292, 1280);
  facts.tunnel->path->below_floor = true;
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("path", "1340")));
}

TEST(MtuStack, WhatTheTunnelDoesNotPassThoughThePathDoes) {
  MtuFacts facts = peer(1500, 1440);
  facts.tunnel->full_size_missing = 3;
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("tunnel", "packets of 1440 bytes do not pass")));
}

TEST(MtuStack, APeerThatDoesNotAnswerIsNoMistakeAndSaidSo) {
  MtuFacts facts = peer(1500, 1440);
  facts.tunnel->path.reset();
  EXPECT_THAT(judge_mtu(facts), Contains(note("path", "51821")));
}

TEST(MtuStack, AnOverlayNeedsRoomForItsHeader) {
  MtuFacts facts = peer(1500, 1440);
  facts.overlays = {{"flannel.1", 1450, "eth0"}};
  EXPECT_THAT(judge_mtu(facts), Not(Contains(Field(&MtuFinding::layer, "overlay"))));
  facts.overlays = {{"flannel.1", 1450, "oc-tethys"}};
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("overlay", "set it to 1390")));
}

TEST(MtuStack, AnOverlayOverIpv6NeedsTwentyBytesMore) {
  MtuFacts facts = peer(1500, 1440);
  facts.overlays = {{"flannel-v6.1", 1370, "oc-tethys", Family::v6}};
  EXPECT_THAT(judge_mtu(facts), Not(Contains(Field(&MtuFinding::layer, "overlay"))));
  facts.overlays[0].mtu = 1371;
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("overlay", "set it to 1370")));
}

TEST(MtuStack, PodsWithIpv6NeedItsMinimum) {
  MtuFacts facts = peer(1500, 1440);
  facts.pods = {{"cni0", 1230, {}}};
  EXPECT_THAT(judge_mtu(facts), Contains(note("pod", "the tunnel would carry 1440")));
  facts.ipv6_inside = true;
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("pod", "at least 1280")));
  facts.pods = {{"cni0", 1500, {}}};
  EXPECT_THAT(judge_mtu(facts), Contains(note("pod", "TCP is clamped")));
}

TEST(MtuStack, APlainHost) {
  MtuFacts facts;
  facts.target = "db.example.net";
  facts.card = LinkMtu{"eth0", 1500, {}};
  facts.measured = MeasuredPath{true, "203.0.113.7", "ICMP echo", 1400};
  EXPECT_THAT(judge_mtu(facts), Contains(note("path", "MSS of at most 1360")));
  EXPECT_THAT(mtu_text(facts), HasSubstr("1328"));
  EXPECT_THAT(mtu_json(facts), HasSubstr(R"("bytes":1400)"));
  facts.measured->bytes.reset();
  EXPECT_THAT(judge_mtu(facts), Contains(wrong("path", "nobody answered")));
}

}  // namespace
}  // namespace oceanid::cli
