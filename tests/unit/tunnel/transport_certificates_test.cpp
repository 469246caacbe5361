// Mutual authentication of the TLS transport by certificates, where authorities are configured.

#include "tests/fakes/test_authority.hpp"
#include "transport_harness.hpp"

#include <gmock/gmock.h>

namespace oceanid::tunnel {
namespace {

using fakes::Pem;
using fakes::TestAuthority;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::transport_key;
using testing::TransportTest;
using namespace std::chrono_literals;

class TransportCertificates : public TransportTest {
 protected:
  static TlsMaterial material(const Pem& own, const TestAuthority& of_the_other) {
    return {own.certificate, own.key, of_the_other.certificate()};
  }
  void accept_with(const Pem& own) { accept({.patience = 500ms}, material(own, of_nodes_)); }
  void dial_with(const TlsMaterial& material) {
    DialSettings careful = settings();
    careful.material = material;
    dial(careful);
  }
  // What is said at home of a handshake that came to nothing.
  std::string trouble() {
    EXPECT_TRUE(until([&] { return !dialling_host_.troubles.empty(); }));
    EXPECT_EQ(dialling_host_.links[Transport::tls], 0U);
    EXPECT_EQ(acceptor_->counters().accepted, 0U);
    EXPECT_EQ(acceptor_->counters().sessions, 0U);
    return dialling_host_.troubles.empty() ? "" : dialling_host_.troubles.front();
  }

  TestAuthority of_exits_{"exits"};
  TestAuthority of_nodes_{"nodes"};
  Pem exit_ = of_exits_.issue("tethys", "IP:127.0.0.1");
  Pem node_ = of_nodes_.issue("styx");
};

TEST_F(TransportCertificates, TheRightOnesOnBothSidesAreLetIn) {
  accept_with(exit_);
  dial_with(material(node_, of_exits_));
  ASSERT_TRUE(standing());
  EXPECT_TRUE(carries(near_, shim_port_, far_, "there"));
  EXPECT_TRUE(carries(far_, far_.sources.back(), near_, "and back"));
  EXPECT_THAT(dialling_host_.troubles, IsEmpty());
}

TEST_F(TransportCertificates, AnExitOfAnotherAuthorityIsNotTrusted) {
  TestAuthority stranger("stranger");
  accept_with(stranger.issue("tethys", "IP:127.0.0.1"));
  dial_with(material(node_, of_exits_));
  EXPECT_THAT(trouble(), HasSubstr("unable to get local issuer certificate"));
}

TEST_F(TransportCertificates, AnExitUnderAnotherNameIsNotTrusted) {
  accept_with(of_exits_.issue("meliae", "IP:127.0.0.2"));
  dial_with(material(node_, of_exits_));
  EXPECT_THAT(trouble(), HasSubstr("IP address mismatch"));
}

TEST_F(TransportCertificates, ANodeThatShowsNoneIsRefused) {
  accept_with(exit_);
  dial_with({.certificate = {}, .key = {}, .authority = of_exits_.certificate()});
  EXPECT_THAT(trouble(),
              AllOf(HasSubstr("accept our certificate"), HasSubstr("certificate required")));
}

TEST_F(TransportCertificates, ANodeOfAnotherAuthorityIsRefused) {
  accept_with(exit_);
  dial_with(material(of_exits_.issue("styx"), of_exits_));
  EXPECT_THAT(trouble(), AllOf(HasSubstr("accept our certificate"), HasSubstr("unknown ca")));
}

// Certificates come beside the keys, not in their place.
TEST_F(TransportCertificates, TheRightOnesWithAnotherKeyAreRefused) {
  accept_with(exit_);
  DialSettings foreign = settings(transport_key(2));
  foreign.material = material(node_, of_exits_);
  dial(foreign);
  EXPECT_THAT(trouble(), HasSubstr("does not accept our key"));
}

}  // namespace
}  // namespace oceanid::tunnel
