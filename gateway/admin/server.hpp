#pragma once
// The admin endpoint's HTTP side (Beast): a socket that netd opened, GET requests, keep-alive,
// bounded in size, time and number of connections: in a crowd, who has waited longest without
// asking makes room, so that silent connections keep no probe out. Runs on the worker's main loop,
// so that /livez can tell when a proxy loop hangs. What it answers is handlers.hpp's business.

#include "gateway/admin/handlers.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <functional>
#include <list>

#include <boost/asio/ip/tcp.hpp>

namespace oceanid::admin {

class Server {
 public:
  using ViewOf = std::function<View()>;

  Server(asio::io_context& io, ViewOf view);
  void adopt(UniqueFd listening_socket);  // replaces the socket of before
  awaitable<void> stop();

 private:
  awaitable<void> accept_loop(std::uint64_t generation);
  awaitable<void> serve(asio::ip::tcp::socket socket);

  asio::io_context& io_;
  asio::ip::tcp::acceptor acceptor_;
  std::uint64_t generation_ = 0;
  std::size_t open_ = 0;
  std::list<asio::ip::tcp::socket*> waiting_;  // for a request, the longest first
  ViewOf view_;
  TaskGroup tasks_;
};

}  // namespace oceanid::admin
