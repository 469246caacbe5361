#include "gateway/admin/server.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <sys/socket.h>

namespace oceanid::admin {
namespace {

namespace http = boost::beast::http;
using namespace std::chrono_literals;
using asio::ip::tcp;
constexpr auto request_patience = 30s;  // between requests of a kept connection, too
constexpr std::uint32_t max_head_bytes = 8192;
constexpr std::size_t max_connections = 64;

tcp protocol_of(int fd) {
  int domain = AF_INET;
  socklen_t size = sizeof domain;
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  return domain == AF_INET6 ? tcp::v6() : tcp::v4();
}

http::response<http::string_body> render(const http::request<http::empty_body>& request,
                                         const View& view) {
  const auto method = request.method_string();
  const auto target = request.target();
  Response answer = handle({method.data(), method.size()}, {target.data(), target.size()}, view);
  http::response<http::string_body> out(static_cast<http::status>(answer.status),
                                        request.version());
  out.set(http::field::content_type, answer.content_type);
  out.set(http::field::cache_control, "no-store");
  out.keep_alive(request.keep_alive());
  const std::size_t length = answer.body.size();
  if (request.method() != http::verb::head) out.body() = std::move(answer.body);
  out.content_length(length);
  return out;
}

}  // namespace

Server::Server(asio::io_context& io, ViewOf view)
    : io_(io), acceptor_(io), view_(std::move(view)), tasks_(io.get_executor()) {}

void Server::adopt(UniqueFd listening_socket) {
  error_code ec;
  acceptor_.close(ec);
  const tcp protocol = protocol_of(listening_socket.get());
  acceptor_.assign(protocol, listening_socket.get(), ec);
  if (ec) return;
  listening_socket.release();
  tasks_.spawn("admin endpoint", accept_loop(++generation_));
}

awaitable<void> Server::stop() {
  error_code ignored;
  acceptor_.close(ignored);
  co_await tasks_.stop();
}

awaitable<void> Server::accept_loop(std::uint64_t generation) {
  while (generation == generation_ && acceptor_.is_open()) {
    auto [ec, socket] = co_await acceptor_.async_accept(io_, as_result);
    if (generation != generation_ || ec == asio::error::operation_aborted) co_return;
    if (ec) {
      co_await sleep_for(20ms);  // out of descriptors: the queue waits
      continue;
    }
    if (open_ >= max_connections) {
      if (waiting_.empty()) continue;  // all of them are being answered: closed unheard
      error_code ignored;
      waiting_.front()->close(ignored);
      waiting_.pop_front();
    }
    tasks_.spawn("admin connection", serve(std::move(socket)));
  }
}

awaitable<void> Server::serve(tcp::socket socket) {
  using namespace asio::experimental::awaitable_operators;
  ++open_;
  struct Leave {
    std::size_t& count;
    std::list<tcp::socket*>& waiting;
    tcp::socket* self;
    ~Leave() {
      --count;
      std::erase(waiting, self);
    }
  } const leave{open_, waiting_, &socket};
  boost::beast::flat_buffer buffer(max_head_bytes * 2);
  for (bool keep = true; keep;) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(max_head_bytes);
    waiting_.push_back(&socket);
    auto read = co_await (http::async_read(socket, buffer, parser, as_result) ||
                          sleep_for(request_patience));
    std::erase(waiting_, &socket);
    if (read.index() != 0 || std::get<0>(std::get<0>(read))) co_return;
    auto response = render(parser.get(), view_());
    keep = response.keep_alive();
    auto written =
        co_await (http::async_write(socket, response, as_result) || sleep_for(request_patience));
    if (written.index() != 0 || std::get<0>(std::get<0>(written))) co_return;
  }
  error_code ignored;
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

}  // namespace oceanid::admin
