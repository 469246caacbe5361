#include "proxy/core/access_record.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

AccessRecord sample() {
  AccessRecord r;
  r.id = "styx-1f";
  r.time = 1'795'237'920'123;
  r.source = "10.42.1.9:51324";
  r.role = "default";
  r.method = "CONNECT";
  r.host = "db.example.net";
  r.port = 5432;
  r.address = "203.0.113.9";
  r.exit = "tethys";
  r.rule = "proxy.policy.default: allow";
  r.verdict = "allow";
  r.status = 200;
  r.dns = 1500us;
  r.connect = 22'031us;
  r.first_byte = 30ms;
  r.duration = 90'000ms;
  r.bytes_up = 1234;
  r.bytes_down = 18'446'744'073'709'551'615U;
  r.closed_by = "client";
  return r;
}

TEST(AccessRecord, IsOneJsonObjectInTheContractsOrder) {
  EXPECT_EQ(
      sample().to_json(),
      R"({"id":"styx-1f","time":"2026-11-21T05:12:00.123Z","source":"10.42.1.9:51324","role":"default",)"
      R"("method":"CONNECT","host":"db.example.net","port":5432,"address":"203.0.113.9","exit":"tethys",)"
      R"("rule":"proxy.policy.default: allow","verdict":"allow","status":200,"error":null,"dns_ms":1.500,)"
      R"("connect_ms":22.031,"first_byte_ms":30.000,"duration_ms":90000.000,"bytes_up":1234,)"
      R"("bytes_down":18446744073709551615,"closed_by":"client"})");
}

TEST(AccessRecord, IsOneTextLineInTheContractsOrder) {
  EXPECT_EQ(
      sample().to_text(),
      "id=styx-1f time=2026-11-21T05:12:00.123Z source=10.42.1.9:51324 role=default method=CONNECT "
      "host=db.example.net port=5432 address=203.0.113.9 exit=tethys rule=\"proxy.policy.default: "
      "allow\" "
      "verdict=allow status=200 error=- dns_ms=1.500 connect_ms=22.031 first_byte_ms=30.000 "
      "duration_ms=90000.000 bytes_up=1234 bytes_down=18446744073709551615 closed_by=client");
}

TEST(AccessRecord, ShowsWhatWasNeverReachedAsAbsent) {
  AccessRecord r;
  r.time = 0;
  EXPECT_EQ(
      r.to_json(),
      R"({"id":null,"time":"1970-01-01T00:00:00.000Z","source":null,"role":null,"method":null,"host":null,)"
      R"("port":null,"address":null,"exit":null,"rule":null,"verdict":null,"status":null,"error":null,)"
      R"("dns_ms":null,"connect_ms":null,"first_byte_ms":null,"duration_ms":null,"bytes_up":0,"bytes_down":0,)"
      R"("closed_by":null})");
  EXPECT_EQ(r.to_text(),
            "id=- time=1970-01-01T00:00:00.000Z source=- role=- method=- host=- port=- address=- "
            "exit=- rule=- "
            "verdict=- status=- error=- dns_ms=- connect_ms=- first_byte_ms=- duration_ms=- "
            "bytes_up=0 bytes_down=0 "
            "closed_by=-");
}

// A client chooses method and host: neither may forge a field, a line or a second record.
TEST(AccessRecord, QuotesUntrustedText) {
  AccessRecord r = sample();
  r.method = "GET\" status=200";
  r.host = "a\r\n{\"id\":\"forged\"}\x01\xff";
  const std::string json = r.to_json();
  EXPECT_NE(json.find(R"("method":"GET\" status=200")"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("host":"a\u000d\u000a{\"id\":\"forged\"}\u0001\ufffd")"),
            std::string::npos)
      << json;
  const std::string text = r.to_text();
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_NE(text.find(R"(method="GET\" status=200" host="a\u000d\u000a)"), std::string::npos)
      << text;
  r.host = "-";
  EXPECT_NE(r.to_text().find("host=\"-\""), std::string::npos)
      << "a literal dash is not an absent value";
}

TEST(AccessRecord, CutsLongTextAtACharacter) {
  AccessRecord r;
  r.host = std::string(10'000, 'x');
  EXPECT_NE(r.to_json().find("\"host\":\"" + std::string(256, 'x') + "...\""), std::string::npos);
  r.host = std::string(255, 'x') + "\xe2\x82\xac" + "tail";
  EXPECT_NE(r.to_json().find("\"host\":\"" + std::string(255, 'x') + "...\""), std::string::npos)
      << "a character of three bytes is not cut in two";
  r.host = std::string(10'000, '\xbf');  // nothing but continuation bytes: still bounded
  EXPECT_LT(r.to_json().size(), 2500U);
  r.host = std::string(256, 'y');
  EXPECT_NE(r.to_json().find("\"host\":\"" + std::string(256, 'y') + "\""), std::string::npos);
}

}  // namespace
}  // namespace oceanid::proxy
