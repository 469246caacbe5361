#include "gateway/admin/server.hpp"
#include "gateway/base/runtime/socket_address.hpp"

#include <future>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/time.h>

namespace oceanid::admin {
namespace {

// An endpoint on a thread of its own.
class Endpoint {
 public:
  Endpoint() {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    NativeAddress address = to_native({IpAddress::parse("127.0.0.1").value(), 0});
    EXPECT_EQ(::bind(fd.get(), address.get(), address.length), 0);
    EXPECT_EQ(::listen(fd.get(), 1024), 0);
    EXPECT_EQ(::getsockname(fd.get(), address.get(), &address.length), 0);
    where_ = from_native(address).value();
    server_.adopt(std::move(fd));
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Endpoint() {
    asio::co_spawn(io_, server_.stop(), asio::use_future).get();
    io_.stop();
    thread_.join();
  }

  UniqueFd connect(const char* from) const {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const NativeAddress source = to_native({IpAddress::parse(from).value(), 0});
    EXPECT_EQ(::bind(fd.get(), source.get(), source.length), 0);
    const NativeAddress to = to_native(where_);
    EXPECT_EQ(::connect(fd.get(), to.get(), to.length), 0);
    return fd;
  }

 private:
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  Server server_{io_, [] {
                   View view;
                   view.loops_beat = true;
                   return view;
                 }};
  SocketAddress where_;
  std::thread thread_;
};

std::string ask(const UniqueFd& fd) {
  const std::string request = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer(4096, '\0');
  const ssize_t got = ::recv(fd.get(), answer.data(), answer.size(), 0);
  answer.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return answer;
}

TEST(AdminServer, AnswersSeveralRequestsOnOneConnection) {
  const Endpoint endpoint;
  const UniqueFd client = endpoint.connect("127.0.0.1");
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(ask(client).starts_with("HTTP/1.1 200 OK"));
}

TEST(AdminServer, ACrowdThatAsksNothingDoesNotKeepAProbeOut) {
  const Endpoint endpoint;
  std::vector<UniqueFd> crowd;
  for (int i = 0; i < 300; ++i)
    crowd.push_back(endpoint.connect("127.0.0.9"));
  EXPECT_TRUE(ask(endpoint.connect("127.0.0.1")).starts_with("HTTP/1.1 200 OK"));
}

}  // namespace
}  // namespace oceanid::admin
