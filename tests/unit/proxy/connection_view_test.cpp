#include "proxy/core/connection_view.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

ConnectionView example() {
  ConnectionView out;
  out.id = "0011223344556677";
  out.source = "10.42.1.7:40000";
  out.role = "label-studio";
  out.method = "CONNECT";
  out.host = "bucket.s3.amazonaws.com";
  out.port = 443;
  out.exit = "tethys";
  return out;
}

TEST(ConnectionFilter, AnEmptyOneMatchesEverything) {
  EXPECT_TRUE(ConnectionFilter{}.matches(example()));
  EXPECT_TRUE(ConnectionFilter{}.matches(ConnectionView{}));
}

TEST(ConnectionFilter, EachMemberMustMatch) {
  ConnectionFilter filter;
  filter.sources = {Prefix::parse("192.0.2.0/24").value(), Prefix::parse("10.42.1.0/24").value()};
  filter.host = "*.amazonaws.com";
  filter.role = "label-studio";
  filter.exit = "tethys";
  EXPECT_TRUE(filter.matches(example()));

  for (const auto member : {&ConnectionFilter::host, &ConnectionFilter::role,
                            &ConnectionFilter::exit, &ConnectionFilter::forward}) {
    ConnectionFilter other = filter;
    other.*member = "another";
    EXPECT_FALSE(other.matches(example()));
  }
  ConnectionFilter elsewhere = filter;
  elsewhere.sources = {Prefix::parse("10.42.2.0/24").value()};
  EXPECT_FALSE(elsewhere.matches(example()));
}

TEST(ConnectionFilter, AHostIsExactOrASuffixWithItsDot) {
  ConnectionFilter filter;
  filter.host = "bucket.s3.amazonaws.com";
  EXPECT_TRUE(filter.matches(example()));
  filter.host = "s3.amazonaws.com";
  EXPECT_FALSE(filter.matches(example()));
  filter.host = "*.cket.s3.amazonaws.com";
  EXPECT_FALSE(filter.matches(example()));
}

}  // namespace
}  // namespace oceanid::proxy
