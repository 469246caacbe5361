#include "gateway/process/listeners.hpp"

#include <cstdlib>
#include <iterator>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

WantedListener on_loopback(std::uint16_t port, std::uint32_t core) {
  WantedListener out;
  out.bind = SocketAddress{IpAddress::parse("127.0.0.1").value(), port};
  out.tag.kind = "proxy";
  out.tag.bind = out.bind.to_string();
  out.tag.core = core;
  out.tag.key = "proxy " + out.bind.to_string() + " #" + std::to_string(core);
  return out;
}

std::uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

TEST(Listeners, NameEverySocketOfEveryCore) {
  Config config;
  config.admin_bind = SocketAddress::parse("127.0.0.1:2000").value();
  proxy::ListenerSettings listener;
  listener.bind = SocketAddress::parse("[::]:3128").value();
  config.proxy.listeners.push_back(listener);
  proxy::ForwardSettings forward;
  forward.bind = SocketAddress::parse("[::]:5432").value();
  config.forwards.push_back(forward);
  config.tunnel.emplace().tls.emplace().bind = SocketAddress::parse("[::]:443").value();
  const auto wanted = wanted_listeners(config, 2);
  ASSERT_EQ(wanted.size(), 6U);
  EXPECT_EQ(wanted[0].tag.key, "proxy [::]:3128 #0");
  EXPECT_EQ(wanted[1].tag.key, "proxy [::]:3128 #1");
  EXPECT_EQ(wanted[3].tag.key, "forward [::]:5432 #1");
  EXPECT_EQ(wanted[4].tag.key, "admin 127.0.0.1:2000 #0");
  EXPECT_EQ(wanted[5].tag.key, "transport [::]:443 #0") << "one: its process has one loop";
}

TEST(Listeners, OpenNothingWhenOneFails) {
  ListenerSet set;
  ASSERT_TRUE(set.open({on_loopback(0, 0)}));
  auto impossible = on_loopback(0, 1);
  impossible.bind.address =
      IpAddress::parse("192.0.2.1").value();  // not an address of this machine
  const auto opened = set.open({on_loopback(0, 0), on_loopback(0, 2), impossible});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().what.substr(0, 21), "listen on 192.0.2.1:0");
  EXPECT_EQ(set.sockets().size(), 1U);
}

TEST(Listeners, ShareAPortBetweenCores) {
  ListenerSet first;
  ASSERT_TRUE(first.open({on_loopback(0, 0)}));
  const auto port = port_of(first.sockets().begin()->second.get());
  ListenerSet second;
  EXPECT_TRUE(second.open({on_loopback(port, 0), on_loopback(port, 1)}));
}

TEST(Listeners, KeepWhatIsStillWanted) {
  ListenerSet set;
  ASSERT_TRUE(set.open({on_loopback(0, 0), on_loopback(0, 1)}));
  const int kept = set.sockets().at(on_loopback(0, 1).tag.key).get();
  EXPECT_EQ(set.retain({on_loopback(0, 1)}), std::vector{on_loopback(0, 0).tag.key});
  ASSERT_EQ(set.sockets().size(), 1U);
  EXPECT_EQ(set.sockets().begin()->second.get(), kept);
}

// Descriptors 3 and 4 as a service manager hands them over, in a process of their own.
int adopt_in_a_child(const std::vector<WantedListener>& kept, const ListenerSet& held) {
  const std::string first = held.sockets().begin()->first;
  const std::string second = std::next(held.sockets().begin())->first;
  int fd = 3;
  for (const auto& entry : held.sockets())
    if (::dup2(::fcntl(entry.second.get(), F_DUPFD, 10), fd++) < 0) return 10;
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", "2", 1);
  ::setenv("LISTEN_FDNAMES", (store_name(first) + ":" + store_name(second)).c_str(), 1);
  ListenerSet set;
  const auto unwanted = set.adopt_inherited(kept);
  return unwanted == std::vector{store_name(second)} && set.sockets().size() == 1 &&
                 set.sockets().contains(first)
             ? 0
             : 1;
}

TEST(Listeners, WhatIsInheritedAndNotWantedStopsListeningWhoeverElseHoldsIt) {
  ListenerSet held;  // stands for the service manager's own copies
  ASSERT_TRUE(held.open({on_loopback(0, 0), on_loopback(0, 1)}));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(adopt_in_a_child({on_loopback(0, 0)}, held));
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const auto listens = [](int fd) {
    int on = -1;
    socklen_t size = sizeof on;
    return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == 0 && on == 1;
  };
  EXPECT_TRUE(listens(held.sockets().at(on_loopback(0, 0).tag.key).get()));
  EXPECT_FALSE(listens(held.sockets().at(on_loopback(0, 1).tag.key).get()));
}

TEST(StoreName, CarriesAnyKeyWithoutAColon) {
  const std::string key = "proxy [::]:3128 #0";
  const std::string name = store_name(key);
  EXPECT_EQ(name.find(':'), std::string::npos);
  EXPECT_EQ(key_of_store_name(name), key);
  for (const auto* foreign : {"", "varlink", "oceanid.", "oceanid.7", "oceanid.zz"})
    EXPECT_EQ(key_of_store_name(foreign), "") << foreign;
}

}  // namespace
}  // namespace oceanid::process
