#include "proxy/core/target.hpp"

#include <string>

#include <gtest/gtest.h>

#include <arpa/inet.h>

namespace oceanid::proxy {
namespace {

using namespace std::string_literals;

const std::string label63(63, 'a');
// 3 * 64 + 61 = 253, the longest name there is.
const std::string name253 = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b');

struct Good {
  std::string text;
  std::string host;
  std::uint16_t port;
};

TEST(Authority, IsReadIntoOneCanonicalForm) {
  const Good cases[] = {
      {"example.com:443", "example.com", 443},
      {"EXAMPLE.Com:443", "example.com", 443},
      {"example.com.:443", "example.com", 443},
      {"localhost:1", "localhost", 1},
      {"a:65535", "a", 65535},
      {"_sip._tcp.example.com:5060", "_sip._tcp.example.com", 5060},
      {"xn--bcher-kva.example:443", "xn--bcher-kva.example", 443},
      {"r3---sn-4g5e6nzz.example:443", "r3---sn-4g5e6nzz.example", 443},
      {"3com.com:80", "3com.com", 80},
      {"1e100.net:80", "1e100.net", 80},
      {"0xbad.example:80", "0xbad.example", 80},
      {label63 + ".example:443", label63 + ".example", 443},
      {name253 + ":443", name253, 443},
      {name253 + ".:443", name253, 443},
      {"192.0.2.1:443", "192.0.2.1", 443},
      {"192.0.2.1.:443", "192.0.2.1", 443},
      {"[2001:db8::1]:443", "2001:db8::1", 443},
      {"[2001:DB8:0:0:0:0:0:1]:443", "2001:db8::1", 443},
      {"[::]:443", "::", 443},
      {"[::ffff:192.0.2.1]:443", "192.0.2.1", 443},
      {"[::ffff:7f00:1]:443", "127.0.0.1", 443},
      {"[64:ff9b::192.0.2.1]:443", "64:ff9b::c000:201", 443},
  };
  for (const Good& c : cases) {
    const auto got = parse_authority(c.text);
    ASSERT_TRUE(got.has_value()) << c.text << ": " << got.error().what;
    EXPECT_EQ(got->host, c.host) << c.text;
    EXPECT_EQ(got->port, c.port) << c.text;
    // Canonical means that reading it again changes nothing.
    const auto again = parse_authority(got->to_string());
    ASSERT_TRUE(again.has_value()) << c.text;
    EXPECT_EQ(again->to_string(), got->to_string()) << c.text;
  }
}

struct Bad {
  std::string text;
  const char* why;
};

TEST(Authority, ANameWithTheRootsDotIsNotSearchedFor) {
  EXPECT_TRUE(parse_authority("db.prod.:443")->absolute);
  EXPECT_FALSE(parse_authority("db.prod:443")->absolute);
  EXPECT_FALSE(parse_authority("192.0.2.1.:443")->absolute) << "an address is not searched for";
  EXPECT_FALSE(parse_authority("[2001:db8::1]:443")->absolute);
}

TEST(Authority, IsRefusedWithAReason) {
  const char* missing_port = "the port is missing: CONNECT needs HOST:PORT";
  const char* bad_port = "the port must be a decimal number from 1 to 65535";
  const char* path = "CONNECT needs HOST:PORT without a path, query or fragment";
  const char* bytes = "the host name holds a byte other than letters, digits, '-', '_' and '.'";
  const char* number = "the host ends in a number but is not an IPv4 address";
  const Bad cases[] = {
      {"", "the destination is empty: CONNECT needs HOST:PORT"},
      {"example.com", missing_port},
      {"example.com:", missing_port},
      {"[2001:db8::1]", missing_port},
      {"[2001:db8::1]:", missing_port},
      {":443", "the host is missing"},
      {".:443", "the host is missing"},
      {":", "the host is missing"},
      {"example.com:0", bad_port},
      {"example.com:65536", bad_port},
      {"example.com:74537", bad_port},       // 9001 after a 16-bit wrap
      {"example.com:4294967739", bad_port},  // 443 after a 32-bit wrap
      {"example.com:18446744073709552059", bad_port},
      {"example.com:9001abc", bad_port},
      {"example.com:abc", bad_port},
      {"example.com:+443", bad_port},
      {"example.com:-443", bad_port},
      {"example.com: 443", bad_port},
      {"example.com:443 ", bad_port},
      {"example.com:0443", bad_port},
      {"example.com:0x1bb", bad_port},
      {"example.com:443:443", "there is more than one colon: an IPv6 address needs brackets"},
      {"2001:db8::1:443", "there is more than one colon: an IPv6 address needs brackets"},
      {"http://example.com:443", "CONNECT needs HOST:PORT, not a URL with a scheme"},
      {"example.com:443/", path},
      {"example.com:443/path", path},
      {"example.com:443?q", path},
      {"example.com:443#f", path},
      {"example.com/:443", path},
      {"example.com\\:443", path},
      {"/example.com:443", path},
      {"user@example.com:443", "CONNECT needs HOST:PORT without user or password"},
      {"user:pass@example.com:443", "CONNECT needs HOST:PORT without user or password"},
      {"exam\0ple.com:443"s, "the destination holds a NUL byte"},
      {"example.com\0.trusted:443"s, "the destination holds a NUL byte"},
      {"example.com:44\0003"s, "the destination holds a NUL byte"},
      {"example..com:443", "the host name has an empty label"},
      {".example.com:443", "the host name has an empty label"},
      {"example.com..:443", "the host name has an empty label"},
      {"..:443", "the host name has an empty label"},
      {"-example.com:443", "a label of the host name begins or ends with '-'"},
      {"example-.com:443", "a label of the host name begins or ends with '-'"},
      {"exam ple.com:443", bytes},
      {"exam\tple.com:443", bytes},
      {"exam\r\nple.com:443", bytes},
      {"*.example.com:443", bytes},
      {"exam%70le.com:443", bytes},
      {"b\xc3\xbc"
       "cher.example:443",
       "the destination holds bytes beyond ASCII: international names come as Punycode"},
      {"example.com,other.com:443", bytes},
      {"\"example.com\":443", bytes},
      {label63 + "a.example:443", "a label of the host name is longer than 63 bytes"},
      {name253 + "b:443", "the host name is longer than 253 bytes"},
      {"[2001:db8::1:443", "the bracket around the IPv6 address is not closed"},
      {"[2001:db8::1]443", "only :PORT may follow the bracket"},
      {"[2001:db8::1].example:443", "only :PORT may follow the bracket"},
      {"[fe80::1%eth0]:443", "an IPv6 zone id has no meaning for a proxy"},
      {"[fe80::1%25eth0]:443", "an IPv6 zone id has no meaning for a proxy"},
      {"[192.0.2.1]:443", "brackets hold an IPv6 address"},
      {"[example.com]:443", "brackets hold an IPv6 address"},
      {"[v1.fe80::1]:443", "brackets hold an IPv6 address"},
      {"[]:443", "brackets hold an IPv6 address"},
      {"[2001:db8::1::2]:443", "brackets hold an IPv6 address"},
      {"[12345::1]:443", "brackets hold an IPv6 address"},
      {"1.2.3.4.5:443", number},
      {"256.1.1.1:443", number},
      {"1.2.3.256:443", number},
      {"1.2.65536:443", number},
      {"4294967296:443", number},
      {"18446744075840258049:443", number},  // 127.0.0.1 after a 64-bit wrap
      {"0x1000000007f000001:443", number},
      {"02000000000017700000001:443", number},
      {"08.8.8.8:443", number},
      {"0x:443", number},
      {"0x1.0xg:443", number},
      {"1..1:443", number},
      {"foo.1:443", number},
      {"example.0x7f:443", number},
  };
  for (const Bad& c : cases) {
    const auto got = parse_authority(c.text);
    ASSERT_FALSE(got.has_value()) << testing::PrintToString(c.text) << " -> " << got->to_string();
    EXPECT_EQ(got.error().what, c.why) << testing::PrintToString(c.text);
    EXPECT_EQ(got.error().code, Errc::protocol);
  }
}

struct Spelling {
  const char* text;
  const char* address;
};

TEST(LooseV4, BecomesTheAddressThatTheResolverWouldDial) {
  const Spelling cases[] = {
      {"127.1", "127.0.0.1"},
      {"127.0.1", "127.0.0.1"},
      {"2130706433", "127.0.0.1"},
      {"0177.0.0.1", "127.0.0.1"},
      {"0x7f.1", "127.0.0.1"},
      {"0x7F000001", "127.0.0.1"},
      {"0X7f.0X0.0X0.0X1", "127.0.0.1"},
      {"017700000001", "127.0.0.1"},
      {"0", "0.0.0.0"},
      {"00", "0.0.0.0"},
      {"0x0", "0.0.0.0"},
      {"10.1", "10.0.0.1"},
      {"10.65535", "10.0.255.255"},
      {"10.16777215", "10.255.255.255"},
      {"192.168.257", "192.168.1.1"},
      {"0251.0376.0251.0376", "169.254.169.254"},
      {"2852039166", "169.254.169.254"},
      {"0xA9FEA9FE", "169.254.169.254"},
      {"169.254.43518", "169.254.169.254"},
      {"169.16689662", "169.254.169.254"},
      {"4294967295", "255.255.255.255"},
      {"0000010.0.0.1", "8.0.0.1"},
      {"1.2.3.4", "1.2.3.4"},
  };
  for (const Spelling& c : cases) {
    const auto got = parse_authority(std::string(c.text) + ":443");
    ASSERT_TRUE(got.has_value()) << c.text << ": " << got.error().what;
    EXPECT_EQ(got->host, c.address) << c.text;
  }
}

// The C library is the judge: whatever digits and dots we read, inet_aton reads as the same
// address, and what it refuses we refuse.
TEST(LooseV4, AgreesWithInetAton) {
  const std::string_view parts[] = {"0",          "1",     "8",        "08",       "010",
                                    "255",        "256",   "0x",       "0xff",     "0x100",
                                    "65535",      "65536", "16777215", "16777216", "4294967295",
                                    "4294967296", "",      "0xg",      "1a"};
  int read = 0;
  const auto check = [&](const std::string& text) {
    in_addr expected{};
    // "0x" is the one difference: glibc reads it as 0, we refuse a number without digits.
    const bool hollow = text.ends_with("0x") || text.find("0x.") != std::string::npos;
    const bool valid = inet_aton(text.c_str(), &expected) == 1 && !hollow;
    const auto got = parse_loose_v4(text);
    ASSERT_EQ(got.has_value(), valid) << text;
    if (!valid) return;
    ++read;
    EXPECT_EQ(got->to_string(), inet_ntoa(expected)) << text;
  };
  for (const auto a : parts) {
    check(std::string(a));
    for (const auto b : parts) {
      const std::string two = std::string(a) + "." + std::string(b);
      check(two);
      for (const auto c : parts)
        check(two + "." + std::string(c));
      for (const auto c : parts)
        check("1." + two + "." + std::string(c));
    }
  }
  EXPECT_GT(read, 500);
}

TEST(InternationalName, BecomesPunycodeAsBrowsersHaveIt) {
  EXPECT_EQ(canonical_host("b\xc3\xbc"
                           "cher.example"),
            "xn--bcher-kva.example");
  EXPECT_EQ(canonical_host("B\xc3\x9c"
                           "CHER.example."),
            "xn--bcher-kva.example");
  EXPECT_EQ(canonical_host("stra\xc3\x9f"
                           "e.example"),
            "xn--strae-oqa.example");  // non-transitional: not strasse
  // Fullwidth digits and the ideographic dot are another spelling of an address.
  EXPECT_EQ(canonical_host("\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97\xe3\x80\x82"
                           "0.0.1"),
            "127.0.0.1");
  EXPECT_FALSE(canonical_host("a\xff.example"));
  EXPECT_FALSE(canonical_host("\xe2\x80\x8d.example"));
  EXPECT_FALSE(
      parse_authority("b\xc3\xbc"
                      "cher.example:443"));
}

TEST(HostField, IsAHostWithOrWithoutAPort) {
  for (const char* good : {"example.com", "example.com:443", "EXAMPLE.COM:443", "example.com.",
                           "example.com:80", "example.com:", "", "other.example:3128", "127.0.0.1",
                           "[2001:db8::1]", "[2001:DB8:0::1]:443"})
    EXPECT_TRUE(is_host_field(good)) << good;
  for (const char* bad :
       {"example.com:x", "example.com:65536", "example.com:443:443", "[example.com]", "[",
        "[2001:db8::1]x", "2001:db8::1", "a b", "user@example.com", "a/b"})
    EXPECT_FALSE(is_host_field(bad)) << bad;
}

}  // namespace
}  // namespace oceanid::proxy
