#include "proxy/core/host_names.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> texts(const auto& values) {
  std::vector<std::string> out;
  for (const auto& value : values)
    out.push_back(value.to_string());
  return out;
}

TEST(ResolvConf, OfAPod) {
  const auto conf = read_resolv_conf(
      "search prod.svc.cluster.local svc.cluster.local cluster.local\n"
      "nameserver 10.96.0.10\noptions ndots:5\n",
      "pod-1");
  EXPECT_THAT(texts(conf.servers), ElementsAre("10.96.0.10:53"));
  EXPECT_EQ(conf.ndots, 5U);
  EXPECT_THAT(
      search_candidates("db", conf),
      ElementsAre("db.prod.svc.cluster.local", "db.svc.cluster.local", "db.cluster.local", "db"));
  EXPECT_THAT(search_candidates("db.prod", conf),
              ElementsAre("db.prod.prod.svc.cluster.local", "db.prod.svc.cluster.local",
                          "db.prod.cluster.local", "db.prod"));
  EXPECT_THAT(search_candidates("db.prod.", conf), ElementsAre("db.prod"));
  EXPECT_EQ(search_candidates("a.b.c.d.e.f", conf).front(), "a.b.c.d.e.f");
}

TEST(ResolvConf, OfAHost) {
  const auto conf = read_resolv_conf(
      "# comment\n; another\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n"
      "nameserver fe80::1%eth0\nnameserver 192.0.2.54 # the third\nnameserver 192.0.2.55\n"
      "domain Old.Example\nsearch Corp.Example. lab.example\r\n"
      "options timeout:2 attempts:3\noptions rotate edns0",
      "host");
  EXPECT_THAT(texts(conf.servers),
              ElementsAre("192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.54:53"));
  EXPECT_THAT(conf.search, ElementsAre("corp.example", "lab.example"));
  EXPECT_EQ(conf.ndots, 1U);
  EXPECT_EQ(conf.timeout, 2s);
  EXPECT_EQ(conf.attempts, 3);
  EXPECT_TRUE(conf.rotate);
  EXPECT_THAT(search_candidates("www", conf),
              ElementsAre("www.corp.example", "www.lab.example", "www"));
  EXPECT_THAT(search_candidates("www.example", conf),
              ElementsAre("www.example", "www.example.corp.example", "www.example.lab.example"));
}

TEST(ResolvConf, OptionsAreBoundedAndNonsenseIsSkipped) {
  const auto conf = read_resolv_conf(
      "options ndots:99 timeout:0 attempts:1000\noptions ndots: ndots:x ndots timeout:5s\n"
      "nameserver\nnameserver nonsense\n\n   \nsearch\n",
      "host");
  EXPECT_EQ(conf.ndots, 15U);
  EXPECT_EQ(conf.timeout, 1s);
  EXPECT_EQ(conf.attempts, 5);
  EXPECT_FALSE(conf.rotate);
  EXPECT_THAT(conf.servers, IsEmpty());
}

TEST(ResolvConf, WithoutASearchListTheHostsOwnDomainIsSearched) {
  EXPECT_THAT(read_resolv_conf("", "node1.Corp.example").search, ElementsAre("corp.example"));
  EXPECT_THAT(read_resolv_conf("", "node1").search, IsEmpty());
  EXPECT_THAT(read_resolv_conf("search .\n", "node1.corp.example").search, IsEmpty());
  EXPECT_THAT(search_candidates("db", ResolvConf{}), ElementsAre("db"));
}

TEST(ResolvConf, ANameThatWouldBecomeTooLongIsNotAsked) {
  ResolvConf conf;
  conf.search = {std::string(200, 'a'), "short.example"};
  const std::string name = std::string(60, 'b') + ".c";
  EXPECT_THAT(search_candidates(name, conf), ElementsAre(name, name + ".short.example"));
}

TEST(HostsFile, SeveralAddressesAliasesAndComments) {
  const auto hosts = HostsFile::read(
      "127.0.0.1 localhost\n"
      "192.0.2.1\tdb.Example  db # the first\n"
      "2001:db8::1 db.example\n"
      "192.0.2.2 db.example. # the second\n"
      "192.0.2.1 db\n"
      "#192.0.2.9 off.example\nnonsense other.example\n192.0.2.3");
  EXPECT_THAT(texts(hosts.find("DB.example")),
              ElementsAre("2001:db8::1", "192.0.2.1", "192.0.2.2"));
  EXPECT_THAT(texts(hosts.find("db.example.")), testing::SizeIs(3));
  EXPECT_THAT(texts(hosts.find("db")), ElementsAre("192.0.2.1"));
  EXPECT_THAT(texts(hosts.find("localhost")), ElementsAre("127.0.0.1"));
  EXPECT_THAT(hosts.find("off.example"), IsEmpty());
  EXPECT_THAT(hosts.find("other.example"), IsEmpty());
}

TEST(HostsFile, LocalhostNeedsNoFile) {
  const HostsFile none;
  EXPECT_THAT(texts(none.find("localhost")), ElementsAre("::1", "127.0.0.1"));
  EXPECT_THAT(texts(none.find("app.localhost")), ElementsAre("::1", "127.0.0.1"));
  EXPECT_THAT(none.find("notlocalhost"), IsEmpty());
}

}  // namespace
}  // namespace oceanid::proxy
