#include "proxy/core/answer.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

TEST(Answer, TellsWhyInStatusPhraseFieldsAndBody) {
  const Answer answer{.reason = Reason::connection_refused,
                      .request_id = "styx-0001",
                      .detail = "db.example.net:5432 refused the connection",
                      .next_hop = "203.0.113.9:5432",
                      .node = "styx",
                      .json = false};
  EXPECT_EQ(render_answer(answer),
            "HTTP/1.1 502 Connection Refused By Destination\r\n"
            "Proxy-Status: oceanid; error=connection_refused; next-hop=\"203.0.113.9:5432\"; "
            "details=\"db.example.net:5432 refused the connection\"; reason=connection_refused\r\n"
            "X-Request-Id: styx-0001\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 143\r\n"
            "Connection: close\r\n"
            "\r\n"
            "502 Connection Refused By Destination: db.example.net:5432 refused the connection\n"
            "(reason connection_refused, request styx-0001, gateway styx)\n");
}

TEST(Answer, SpeaksJsonAndRetryAfter) {
  const Answer answer{.reason = Reason::tunnel_limit,
                      .request_id = "r1",
                      .detail = {},
                      .next_hop = {},
                      .node = {},
                      .json = true};
  EXPECT_EQ(render_answer(answer),
            "HTTP/1.1 503 Too Many Tunnels\r\n"
            "Proxy-Status: oceanid; error=connection_limit_reached; "
            "details=\"the gateway's limit of open tunnels is reached (limits.tunnels)\"; "
            "reason=tunnel_limit\r\n"
            "Retry-After: 1\r\n"
            "X-Request-Id: r1\r\n"
            "Content-Type: application/json\r\n"
            "Content-Length: 132\r\n"
            "Connection: close\r\n"
            "\r\n"
            "{\"status\":503,\"reason\":\"tunnel_limit\",\"detail\":\"the gateway's limit of open "
            "tunnels is "
            "reached (limits.tunnels)\",\"request_id\":\"r1\"}\n");
}

TEST(Answer, OpensATunnelWithoutAnyContentFraming) {
  EXPECT_EQ(render_connected("203.0.113.9:443", "r1"),
            "HTTP/1.1 200 Connection Established\r\n"
            "Proxy-Status: oceanid; next-hop=\"203.0.113.9:443\"\r\n"
            "X-Request-Id: r1\r\n"
            "\r\n");
}

// Untrusted text must not end a line, a quoted string or the head.
TEST(Answer, EscapesHostileText) {
  const std::string hostile = "a\"b\\c\r\nX-Evil: 1\r\n\r\n\x01\xc3\xa9";
  for (const bool json : {false, true}) {
    const std::string text = render_answer({.reason = Reason::bad_target,
                                            .request_id = hostile,
                                            .detail = hostile,
                                            .next_hop = hostile,
                                            .node = {},
                                            .json = json});
    EXPECT_NE(text.find("details=\"a\\\"b\\\\c??X-Evil: 1???????\"; reason=bad_target\r\n"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("next-hop=\"a\\\"b\\\\c??X-Evil: 1???????\";"), std::string::npos) << text;
    EXPECT_EQ(text.find("\r\nX-Evil"), std::string::npos) << text;
    const std::string head = text.substr(0, text.find("\r\n\r\n"));
    EXPECT_NE(head.find("Connection: close"), std::string::npos)
        << "the head ended early: " << text;
  }
}

TEST(Answer, BoundsTheDetail) {
  const std::string text = render_answer({.reason = Reason::bad_target,
                                          .request_id = {},
                                          .detail = std::string(100'000, 'x'),
                                          .next_hop = {},
                                          .node = {},
                                          .json = false});
  EXPECT_LT(text.size(), 1500U);
}

int content_length(const std::string& text) {
  return std::stoi(text.substr(text.find("Content-Length: ") + 16));
}

TEST(Answer, EveryReasonRendersAWholeReply) {
  for (const ReasonRow& row : reason_table()) {
    if (row.reason == Reason::ok || row.reason == Reason::client_gone) continue;
    for (const bool json : {false, true}) {
      const std::string text = render_answer({.reason = row.reason,
                                              .request_id = "r",
                                              .detail = {},
                                              .next_hop = {},
                                              .node = "n",
                                              .json = json});
      const auto body = text.find("\r\n\r\n") + 4;
      EXPECT_TRUE(text.starts_with("HTTP/1.1 " + std::to_string(row.status) + " ")) << text;
      EXPECT_EQ(static_cast<std::size_t>(content_length(text)), text.size() - body) << text;
      EXPECT_NE(text.find("\r\nProxy-Status: oceanid; error="), std::string::npos) << text;
      EXPECT_NE(text.find("\r\nConnection: close\r\n"), std::string::npos) << text;
      EXPECT_NE(text.find(row.meaning), std::string::npos) << text;
      EXPECT_EQ(text.find("\r\nRetry-After: ") != std::string::npos,
                row.status == 503 || row.status == 429)
          << text;
    }
  }
}

// RFC 9209 section 2.3 (the registry's names), so that a misspelt token cannot creep in.
TEST(ReasonTable, UsesRegisteredErrorTypes) {
  const std::set<std::string_view> registered = {"dns_timeout",
                                                 "dns_error",
                                                 "destination_not_found",
                                                 "destination_unavailable",
                                                 "destination_ip_prohibited",
                                                 "destination_ip_unroutable",
                                                 "connection_refused",
                                                 "connection_terminated",
                                                 "connection_timeout",
                                                 "connection_read_timeout",
                                                 "connection_write_timeout",
                                                 "connection_limit_reached",
                                                 "tls_protocol_error",
                                                 "tls_certificate_error",
                                                 "tls_alert_received",
                                                 "http_request_error",
                                                 "http_request_denied",
                                                 "http_response_incomplete",
                                                 "http_response_header_section_size",
                                                 "http_response_header_size",
                                                 "http_response_body_size",
                                                 "http_response_trailer_section_size",
                                                 "http_response_trailer_size",
                                                 "http_response_transfer_coding",
                                                 "http_response_content_coding",
                                                 "http_response_timeout",
                                                 "http_upgrade_failed",
                                                 "http_protocol_error",
                                                 "proxy_internal_response",
                                                 "proxy_internal_error",
                                                 "proxy_configuration_error",
                                                 "proxy_loop_detected"};
  std::set<std::string_view> tokens;
  for (const ReasonRow& row : reason_table()) {
    EXPECT_TRUE(tokens.insert(row.token).second) << row.token << " stands twice";
    EXPECT_EQ(to_string(row.reason), row.token);
    EXPECT_EQ(status_of(row.reason), row.status);
    if (row.reason == Reason::ok || row.reason == Reason::client_gone) continue;
    EXPECT_TRUE(registered.contains(row.proxy_error)) << row.token;
    Answer answer;
    answer.reason = row.reason;
    const bool says_how = render_answer(answer).contains("\r\nProxy-Authenticate: ");
    EXPECT_EQ(row.status == 407, says_how) << row.token;
  }
}

TEST(ReasonTable, KeepsTheStatusOfAHeadError) {
  for (int i = 0; i <= static_cast<int>(last_head_error); ++i) {
    const auto error = static_cast<HeadError>(i);
    EXPECT_EQ(status_of(reason_of(error)), status_of(error)) << to_string(error);
  }
  EXPECT_EQ(reason_of(HeadError::bare_cr), Reason::bad_request);
  EXPECT_EQ(reason_of(HeadError::method_too_long), Reason::method_not_supported);
  EXPECT_EQ(reason_of(HeadError::unsupported_transfer_coding), Reason::coding_not_supported);
}

TEST(Answer, JsonOnlyForWhoAsksForIt) {
  RequestHead head;
  EXPECT_FALSE(wants_json(head));
  head.fields = {{"Accept", "*/*"}};
  EXPECT_FALSE(wants_json(head));
  head.fields = {{"accept", "text/html, application/json;q=0.9"}};
  EXPECT_TRUE(wants_json(head));
}

}  // namespace
}  // namespace oceanid::proxy
