#include "gateway/process/control.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <array>
#include <cstring>

#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
using Local = asio::local::stream_protocol;
constexpr std::size_t max_request_bytes = 4096;
constexpr std::size_t max_answer_bytes = 16U << 20U;
constexpr auto request_patience = 5s;
constexpr auto answer_patience = 60s;

boost::json::value answer_of(const Result<boost::json::value>& result) {
  if (result) return {{"ok", true}, {"result", *result}};
  return {{"ok", false}, {"error", result.error().what}};
}

Result<UniqueFd> connect_local(const std::string& path, std::chrono::milliseconds patience) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path)
    return fail(Errc::invalid_argument, fmt::format("{}: too long for a socket's path", path));
  std::memcpy(to.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  const timeval limit{.tv_sec = patience.count() / 1000,
                      .tv_usec = static_cast<suseconds_t>(patience.count() % 1000 * 1000)};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    const int why = errno;
    if (why == ENOENT || why == ECONNREFUSED)
      return fail(Errc::not_found, fmt::format("no gateway runs here ({} does not answer)", path));
    return fail_errno("connect to " + path, why);
  }
  return fd;
}

}  // namespace

bool gateway_answers(const std::string& socket_path) {
  return connect_local(socket_path, 1s).has_value();
}

ControlServer::ControlServer(asio::io_context& io, Handler handler)
    : io_(io), acceptor_(io), handler_(std::move(handler)), tasks_(io.get_executor()) {}

Result<void> ControlServer::open(const std::string& path) {
  if (connect_local(path, 1s))
    return fail(
        Errc::already_exists,
        fmt::format("another gateway already runs here and answers on {}; stop it first, or "
                    "give this one its own run_dir",
                    path));
  ::unlink(path.c_str());
  const mode_t before = ::umask(0177);
  error_code ec;
  acceptor_.open(Local(), ec);
  if (!ec) acceptor_.bind(Local::endpoint(path), ec);
  ::umask(before);
  if (!ec) acceptor_.listen(16, ec);
  if (ec) {
    close();
    return fail(Errc::io, fmt::format("control socket {}: {}", path, ec.message()));
  }
  path_ = path;
  tasks_.spawn("control socket", accept_loop());
  return {};
}

void ControlServer::close() {
  error_code ignored;
  acceptor_.close(ignored);
  if (!path_.empty()) ::unlink(path_.c_str());
  path_.clear();
}

awaitable<void> ControlServer::accept_loop() {
  while (acceptor_.is_open()) {
    auto [ec, peer] = co_await acceptor_.async_accept(io_, as_result);
    if (ec == asio::error::operation_aborted) co_return;
    if (ec) {
      co_await sleep_for(100ms);  // out of descriptors: the next one may work
      continue;
    }
    tasks_.spawn("control request", serve(std::move(peer)));
  }
}

awaitable<void> ControlServer::serve(Local::socket peer) {
  using namespace asio::experimental::awaitable_operators;
  std::string line;
  auto buffer = asio::dynamic_buffer(line, max_request_bytes);
  auto read = co_await (asio::async_read_until(peer, buffer, '\n', as_result) ||
                        sleep_for(request_patience));
  if (read.index() != 0 || std::get<0>(std::get<0>(read))) co_return;
  error_code ec;
  const auto request = boost::json::parse(line, ec);
  const auto* object = ec ? nullptr : request.if_object();
  const auto* command = object == nullptr ? nullptr : object->if_contains("command");
  boost::json::value answer;
  if (command == nullptr || !command->is_string()) {
    answer = answer_of(fail(Errc::invalid_argument, "expected {\"command\": \"…\"}"));
  } else {
    const auto* arguments = object->if_contains("arguments");
    auto result = co_await handler_(command->get_string().c_str(),
                                    arguments != nullptr ? *arguments : boost::json::value());
    answer = answer_of(result);
  }
  const std::string text = boost::json::serialize(answer) + "\n";
  auto written = co_await (asio::async_write(peer, asio::buffer(text), as_result) ||
                           sleep_for(answer_patience));
  static_cast<void>(written);  // a client that went away asked for nothing more
}

Result<boost::json::value> ask_gateway(const std::string& socket_path, const std::string& command,
                                       std::chrono::milliseconds patience,
                                       boost::json::value arguments) {
  auto fd = connect_local(socket_path, patience);
  if (!fd) return std::unexpected(std::move(fd.error()));
  const std::string request = boost::json::serialize(boost::json::value{
                                  {"command", command}, {"arguments", std::move(arguments)}}) +
                              "\n";
  if (::send(fd->get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    return fail_errno("ask the gateway");
  std::string text;
  std::array<char, 65536> chunk{};
  while (!text.ends_with('\n')) {
    const ssize_t n = ::recv(fd->get(), chunk.data(), chunk.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return fail(Errc::timeout,
                  fmt::format("the gateway did not answer within {} s", patience.count() / 1000));
    if (n < 0) return fail_errno("read the gateway's answer");
    if (n == 0) return fail(Errc::closed, "the gateway closed the connection without an answer");
    text.append(chunk.data(), static_cast<std::size_t>(n));
    if (text.size() > max_answer_bytes) return fail(Errc::limit, "the answer is too large");
  }
  error_code ec;
  auto answer = boost::json::parse(text, ec);
  if (ec || !answer.is_object()) return fail(Errc::protocol, "the gateway's answer is not JSON");
  auto& object = answer.get_object();
  if (const auto* ok = object.if_contains("ok"); ok != nullptr && ok->is_bool() && ok->get_bool())
    return object["result"];
  const auto* error = object.if_contains("error");
  return fail(Errc::io, error != nullptr && error->is_string() ? error->get_string().c_str()
                                                               : "the gateway refused");
}

}  // namespace oceanid::process
