// The parent proxy as a value: its URL, what we say to it, what its answers mean.
#include "proxy/core/parent_connect.hpp"
#include "proxy/core/policy.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

ResponseHead answer_with(int status, std::vector<Field> fields = {}) {
  ResponseHead out;
  out.status = status;
  out.fields = std::move(fields);
  return out;
}

TEST(Parent, AUrlSaysWhereItIsAndWhoWeAre) {
  const auto plain = parse_parent("http://Proxy.Example.net:3128");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->at, (HostPort{"proxy.example.net", 3128}));
  EXPECT_EQ(plain->authorization, "");
  // RFC 7617 section 2.
  EXPECT_EQ(parse_parent("http://Aladdin:open%20sesame@192.0.2.1:1")->authorization,
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  EXPECT_EQ(parse_parent("http://user@[2001:db8::1]:8080"),
            (ParentProxy{{"2001:db8::1", 8080}, "Basic dXNlcjo="}));
  EXPECT_EQ(parse_parent("http://u:p:%40%2f@x@h:1")->authorization, "Basic dTpwOkAvQHg=");
  EXPECT_EQ(parse_parent("http://u:a@h:1")->authorization, "Basic dTph");
}

TEST(Parent, AFaultNeverRepeatsTheText) {
  for (const char* url : {"https://u:sesame@h:1",
                          "ftp://u:sesame@h:1",
                          "u:sesame@h:1",
                          "http://u:sesame@h",
                          "http://u:sesame@h:0",
                          "http://u:sesame@h:1/",
                          "http://u:sesame@h:1?q",
                          "http://u:sesame@:1",
                          "http://u:sesame%4@h:1",
                          "http://u:sesame%zz@h:1",
                          "http://:sesame@h:1",
                          "http://%3Au:sesame@h:1",
                          "http://u:sesame%0d@h:1",
                          "http://u:sesame%00@h:1",
                          "http://u:sesame%40h:1",
                          "http://u:ses ame@h:1",
                          "http://u:se/same@h:1",
                          "http://@h:1",
                          "http://",
                          ""}) {
    const auto parent = parse_parent(url);
    ASSERT_FALSE(parent) << url;
    EXPECT_FALSE(parent.error().what.empty());
    EXPECT_FALSE(parent.error().what.contains("same")) << parent.error().what;
  }
}

TEST(Parent, IsAskedByTheNameThatTheClientGave) {
  const ParentProxy open{{"proxy.test", 3128}, {}};
  EXPECT_EQ(render_parent_connect(open, {"xn--bcher-kva.test", 443}, {}, "a.oceanid"),
            "CONNECT xn--bcher-kva.test:443 HTTP/1.1\r\nHost: xn--bcher-kva.test:443\r\n"
            "Via: 1.1 a.oceanid\r\n\r\n");
  const ParentProxy closed{{"proxy.test", 3128}, "Basic dTph"};
  EXPECT_EQ(render_parent_connect(closed, {"2001:db8::1", 80}, "1.1 b", "a.oceanid"),
            "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"
            "Via: 1.1 b, 1.1 a.oceanid\r\nProxy-Authorization: Basic dTph\r\n\r\n");
}

TEST(Parent, EachAnswerHasItsMeaning) {
  EXPECT_FALSE(refusal_of_parent(answer_with(200)));
  EXPECT_FALSE(refusal_of_parent(answer_with(204)));
  for (const auto& [status, reason] :
       std::vector<std::pair<int, Reason>>{{101, Reason::parent_bad_answer},
                                           {302, Reason::parent_failed},
                                           {400, Reason::parent_failed},
                                           {403, Reason::parent_denied},
                                           {407, Reason::parent_auth},
                                           {429, Reason::parent_unavailable},
                                           {500, Reason::parent_failed},
                                           {502, Reason::parent_failed},
                                           {503, Reason::parent_unavailable},
                                           {504, Reason::parent_timeout}}) {
    const auto refusal = refusal_of_parent(answer_with(status));
    ASSERT_TRUE(refusal) << status;
    EXPECT_EQ(refusal->reason, reason) << status;
    EXPECT_EQ(refusal->received_status, status);
  }
}

TEST(Parent, ItsPauseIsKeptWhenItIsANumber) {
  const auto pause = [](const char* value) {
    return refusal_of_parent(answer_with(503, {{"retry-after", value}}))->retry_after;
  };
  EXPECT_EQ(pause("7"), 7);
  EXPECT_EQ(pause("99999999999"), 86'400);
  EXPECT_EQ(pause("Sat, 21 Nov 2026 12:00:00 GMT"), 0);
  EXPECT_EQ(refusal_of_parent(answer_with(502, {{"retry-after", "7"}}))->retry_after, 0);
}

// Where nobody here knows an address, rules for addresses can allow nothing.
TEST(Parent, AnUnresolvedNameNeedsARuleForNames) {
  const auto judge = [](RoleAction action, const std::string& allow) {
    ProxySettings settings;
    Role& role = settings.policy.roles.emplace_back();
    role.name = "ls";
    role.action = action;
    role.allow = {allow};
    const Decision decision = Policy(settings).decide({}, {"far.test", 443}, Asked::tunnel);
    EXPECT_TRUE(decision.allowed);
    return decision.judge_unresolved();
  };
  EXPECT_TRUE(judge(RoleAction::enforce, "far.test").allowed);
  const AddressVerdict refused = judge(RoleAction::enforce, "203.0.113.0/24");
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.reason, Reason::policy_denied);
  EXPECT_EQ(refused.rule, "proxy.policy.roles.ls.allow: nothing there fits");
  EXPECT_TRUE(judge(RoleAction::report, "203.0.113.0/24").reported);
}

}  // namespace
}  // namespace oceanid::proxy
