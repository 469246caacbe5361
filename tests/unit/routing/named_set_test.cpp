// Named sets as values: normal form, differences, text; and what plan, diff and reconciler make of
// them.

#include "plan_inputs.hpp"
#include "routing/core/diff.hpp"
#include "routing/core/long_lists.hpp"
#include "routing/edge/reconciler.hpp"
#include "tests/fakes/fake_kernel.hpp"
#include "tests/fakes/run_task.hpp"

#include <algorithm>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Prefix net(std::string_view text) {
  return Prefix::parse(text).value();
}
std::vector<Prefix> nets(std::initializer_list<std::string_view> texts) {
  std::vector<Prefix> out;
  for (const std::string_view text : texts)
    out.push_back(net(text));
  return out;
}
// 198.18.0.0 and on, one host each.
std::vector<Prefix> hosts_from(unsigned first, unsigned count) {
  std::vector<Prefix> out;
  for (unsigned i = first; i < first + count; ++i)
    out.push_back(Prefix::host(
        IpAddress::v4({198, static_cast<std::uint8_t>(18 + (i >> 16)),
                       static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)})));
  return out;
}
const NamedSet* find_set(const NetworkState& state, std::string_view name) {
  const auto found = std::ranges::find(state.nft.sets, name, &NamedSet::name);
  return found == state.nft.sets.end() ? nullptr : &*found;
}

TEST(NamedSets, NormalFormHasNoElementInsideAnother) {
  EXPECT_EQ(normal(nets({"10.1.0.0/16", "192.0.2.1/32", "10.0.0.0/8", "10.0.0.0/8", "10.1.2.3/32",
                         "192.0.2.0/31", "11.0.0.0/8"})),
            nets({"10.0.0.0/8", "11.0.0.0/8", "192.0.2.0/31"}));
  EXPECT_EQ(normal(nets({"2001:db8::/32", "0.0.0.0/0", "2001:db8:1::/48", "192.0.2.1/32"})),
            nets({"0.0.0.0/0", "2001:db8::/32"}));
}

TEST(NamedSets, TextGoesToDiskAndBackWithoutLargeSets) {
  NftTables tables{"table inet oceanid {\n}\n",
                   {{"big4", Family::v4, hosts_from(0, 5)},
                    {"near4", Family::v4, nets({"10.0.0.0/8", "192.0.2.1/32"})},
                    {"near6", Family::v6, nets({"2001:db8::/32"})}}};
  EXPECT_THAT(text_of(tables), HasSubstr("}\nadd element inet oceanid big4 { 198.18.0.0, "));
  EXPECT_THAT(text_of(tables),
              HasSubstr("\nadd element inet oceanid near4 { 10.0.0.0/8, 192.0.2.1 }\n"));
  EXPECT_EQ(read_shortened(shortened_text_of(tables, 5)).tables, tables);
  const ReadTables read = read_shortened(shortened_text_of(tables, 4));
  EXPECT_THAT(read.left_out, ElementsAre("big4"));
  tables.sets.erase(tables.sets.begin());
  EXPECT_EQ(read.tables, tables);
}

TEST(NamedSets, ElementsAloneChangeWithoutTheProgram) {
  Inputs in = examples::styx();
  const NetworkState before = plan(in);
  in.routing->bypass = nets({"10.42.0.0/16", "10.43.0.0/16", "192.0.2.64/26"});
  const NetworkState after = plan(in);
  const Changes changes = diff(after, as_if_applied(before));
  ASSERT_FALSE(changes.empty());
  const auto* elements = std::get_if<ChangeElements>(&changes.steps.front());
  ASSERT_NE(elements, nullptr) << describe(changes) << "the first, before any rule changes";
  EXPECT_THAT(elements->sets, ElementsAre(SetDifference{"cluster4", nets({"100.64.0.0/10"}), {}},
                                          SetDifference{"near4", {}, nets({"192.0.2.64/26"})}));
  EXPECT_THAT(describe(changes),
              HasSubstr("nft\n  - cluster4 100.64.0.0/10\n  + near4 192.0.2.64/26\n"));
  const auto back = inverse(changes.steps.front());
  ASSERT_TRUE(back);
  EXPECT_THAT(std::get<ChangeElements>(*back).sets,
              ElementsAre(SetDifference{"cluster4", {}, nets({"100.64.0.0/10"})},
                          SetDifference{"near4", nets({"192.0.2.64/26"}), {}}));
  EXPECT_EQ(std::get<ChangeElements>(*back).to, before.nft);
}

TEST(NamedSets, ANewSetIsStructure) {
  Inputs in = examples::styx();
  in.routing->bypass = {};
  in.routing->nodes = {};
  in.peer_endpoints = {};
  const NetworkState without = plan(in);
  in.routing->nodes = nets({"198.51.100.99/32"});
  const Changes changes = diff(plan(in), as_if_applied(without));
  EXPECT_TRUE(std::ranges::any_of(changes.steps, [](const Change& change) {
    return std::holds_alternative<ReplaceNft>(change);
  }));
  EXPECT_THAT(describe(changes), HasSubstr("  + near4 198.51.100.99\n"));
}

TEST(NamedSets, LongDifferencesAreShownInPart) {
  const NamedSet none{"big4", Family::v4, {}};
  const NamedSet many{"big4", Family::v4, hosts_from(0, 100)};
  Changes changes;
  changes.steps.emplace_back(ChangeElements{{}, {}, difference({none}, {many})});
  const std::string text = describe(changes);
  EXPECT_THAT(text, HasSubstr("  + big4 198.18.0.9\n  + big4 and 90 more\n"));
  EXPECT_THAT(text, Not(HasSubstr("198.18.0.10")));
}

// ---- long lists ----

TEST(LongLists, AFewStayRulesAndManyBecomeMarks) {
  RoutingSettings settings;
  set_bypass(settings, hosts_from(0, 64));
  EXPECT_EQ(settings.bypass.size(), 64U);
  EXPECT_TRUE(settings.exempt4.empty());
  std::vector<Prefix> many = hosts_from(0, 70);
  many.push_back(net("10.42.0.0/16"));
  many.push_back(net("100.64.0.0/10"));
  many.push_back(net("2001:db8::/32"));
  set_bypass(settings, many);
  EXPECT_EQ(settings.bypass, nets({"10.42.0.0/16", "100.64.0.0/10"}));
  EXPECT_EQ(settings.exempt4.size(), 70U);
  EXPECT_EQ(settings.exempt6, nets({"2001:db8::/32"}));
  EXPECT_FALSE(settings.exempts_private);
  const PrefixList before = settings.bypass;
  many.erase(many.begin());
  set_bypass(settings, many);
  EXPECT_EQ(settings.bypass, before) << "no other prefix changes sides";
  for (unsigned i = 0; i < 70; ++i)
    many.push_back(Prefix::host(IpAddress::v4({10, 9, 9, static_cast<std::uint8_t>(i)})));
  set_bypass(settings, many);
  EXPECT_EQ(settings.bypass.size(), most_rules);
  EXPECT_TRUE(settings.exempts_private);
  EXPECT_EQ(normal(whole_bypass(settings)), normal(many));
}

Inputs with_long_bypass(unsigned count) {
  Inputs in = examples::styx();
  std::vector<Prefix> all = in.routing->bypass;
  const auto more = hosts_from(0, count);
  all.insert(all.end(), more.begin(), more.end());
  set_bypass(*in.routing, std::move(all));
  return in;
}

TEST(LongLists, MarksAreGivenAndTakenByOneSetAndNoRule) {
  const NetworkState few = plan(examples::styx());
  const NetworkState many = plan(with_long_bypass(100'000));
  EXPECT_EQ(many.rules, few.rules);
  EXPECT_EQ(many.routes, few.routes);
  ASSERT_NE(find_set(many, "exempt4"), nullptr);
  EXPECT_EQ(find_set(many, "exempt4")->prefixes.size(), 100'000U);
  EXPECT_THAT(many.nft.text, HasSubstr("ip daddr @exempt4 ct mark set ct mark | 0x01000000 meta "
                                       "mark set meta mark | 0x01000000 return\n"));
  EXPECT_LT(many.nft.text.size(), 12'000U) << "elements are no text";
  EXPECT_EQ(find_set(few, "exempt4"), nullptr);
}

TEST(LongLists, NothingPrivateLeavesByAnUplinkThroughAMark) {
  Inputs in = with_long_bypass(100);
  EXPECT_THAT(plan(in).nft.text, Not(HasSubstr("ip daddr { 10.0.0.0/8")));
  in.routing->exempts_private = true;
  const std::string text = plan(in).nft.text;
  const auto refused = text.find(
      "oifname \"eth0\" meta mark & 0x01000000 == 0x01000000 ip daddr { "
      "10.0.0.0/8, 100.64.0.0/10");
  const auto passes = text.find("    meta mark & 0x01000000 == 0x01000000 return\n");
  ASSERT_NE(refused, std::string::npos) << text;
  EXPECT_LT(refused, passes);
}

TEST(LongLists, TheGuardAtBootOpensNoneOfThem) {
  const NetworkState guard = guard_plan(with_long_bypass(100'000));
  EXPECT_EQ(find_set(guard, "exempt4"), nullptr);
  EXPECT_EQ(guard.nft, guard_plan(examples::styx()).nft);
}

// ---- the reconciler ----

class ElementReconciler : public testing::Test {
 protected:
  ElementReconciler() {
    for (const char* name : {"oc-tethys", "oc-meliae", "eth0"})
      kernel_.add_link(name);
    for (const Sysctl& sysctl : plan(examples::styx()).sysctls)
      kernel_.sysctls[sysctl.path] = sysctl.value;
  }
  Result<ApplyReport> apply(const Inputs& in) {
    return run_task(io_, reconciler_->apply(plan(in)));
  }
  std::string planned(const Inputs& in) {
    return run_task(io_, reconciler_->plan(plan(in))).value();
  }

  asio::io_context io_;
  TemporaryDirectory directory_;
  FakeKernel kernel_;
  std::unique_ptr<Reconciler> reconciler_ =
      std::make_unique<Reconciler>(io_.get_executor(), kernel_, directory_.path);
};

TEST_F(ElementReconciler, OneElementIsOneElement) {
  ASSERT_TRUE(apply(with_long_bypass(5000)));
  EXPECT_EQ(kernel_.nft_runs, 1);
  kernel_.log.clear();
  const auto report = apply(with_long_bypass(5001));
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_FALSE(report->nft);
  EXPECT_EQ(report->changes, 1U);
  EXPECT_EQ(kernel_.nft_runs, 1);
  ASSERT_EQ(kernel_.element_changes.size(), 1U);
  EXPECT_EQ(kernel_.element_changes[0].prefixes, hosts_from(5000, 1));
  EXPECT_EQ(*kernel_.state.nft_tables, plan(with_long_bypass(5001)).nft);
  EXPECT_EQ(apply(with_long_bypass(5001))->changes, 0U);
}

TEST_F(ElementReconciler, TablesAreMadeAnewWhenElementsAreNotAsRemembered) {
  ASSERT_TRUE(apply(with_long_bypass(100)));
  kernel_.state.nft_tables->sets.front().prefixes = {};  // somebody emptied a set
  for (NamedSet& set : kernel_.state.nft_tables->sets)
    if (set.name == "exempt4") set.prefixes = {};
  const auto report = apply(with_long_bypass(90));
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_TRUE(report->nft);
  EXPECT_EQ(*kernel_.state.nft_tables, plan(with_long_bypass(90)).nft);
  EXPECT_EQ(apply(with_long_bypass(90))->changes, 0U);
}

TEST_F(ElementReconciler, ElementsGoBackWhenALaterStepFails) {
  Inputs in = examples::styx();
  ASSERT_TRUE(apply(in));
  const std::string before = kernel_.dump();
  in.routing->bypass = nets({"10.42.0.0/16", "192.0.2.64/26"});
  kernel_.failures = {{"+ 5150", EPERM}};
  EXPECT_FALSE(apply(in));
  EXPECT_EQ(kernel_.dump(), before);
  EXPECT_EQ(kernel_.nft_runs, 1) << "not even that needs the program";
  kernel_.failures.clear();
  EXPECT_TRUE(apply(in));
}

TEST_F(ElementReconciler, PlanOfAnotherProcessSaysWhatItCannotCompare) {
  ASSERT_TRUE(apply(with_long_bypass(5000)));
  EXPECT_THAT(planned(with_long_bypass(5001)), HasSubstr("nft\n  + exempt4 198.18.19.136\n"));
  reconciler_ = std::make_unique<Reconciler>(io_.get_executor(), kernel_, directory_.path);
  EXPECT_EQ(planned(with_long_bypass(5001)),
            "nothing to change\n"
            "elements of exempt4: 5001 wanted; those in force are not compared\n");
}

TEST_F(ElementReconciler, TheLastGoodStateKeepsItsElements) {
  const NetworkState state = plan(with_long_bypass(100));
  ASSERT_TRUE(reconciler_->save_last_good(state));
  const auto loaded = reconciler_->load_last_good();
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(*loaded, state);
}

}  // namespace
}  // namespace oceanid::routing
