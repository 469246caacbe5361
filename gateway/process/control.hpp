#pragma once
// The control socket RUN_DIR/control.sock: how `oceanid status|reload|drain|down` talk to a running
// netd. One JSON request and one JSON answer per connection:
// {"command":"status","arguments":{…}} → {"ok":true,"result":…} or {"ok":false,"error":"…"}. Only
// the gateway's own account (root) may connect (mode 0600), requests are bounded in size and time.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"

#include <functional>
#include <string>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/json/value.hpp>

namespace oceanid::process {

inline constexpr std::string_view control_socket_name = "control.sock";

class ControlServer {
 public:
  using Handler = std::function<awaitable<Result<boost::json::value>>(
      std::string command, boost::json::value arguments)>;

  ControlServer(asio::io_context& io, Handler handler);
  // Replaces a dead predecessor's socket; refuses when a live gateway answers on it.
  Result<void> open(const std::string& path);
  void close();
  awaitable<void> stop() { return tasks_.stop(); }

 private:
  awaitable<void> accept_loop();
  awaitable<void> serve(asio::local::stream_protocol::socket peer);

  asio::io_context& io_;
  asio::local::stream_protocol::acceptor acceptor_;
  Handler handler_;
  std::string path_;
  TaskGroup tasks_;
};

// Whether a live gateway has that socket.
bool gateway_answers(const std::string& socket_path);

// The client's side; synchronous, for the command line. Errc::not_found: no gateway runs there.
Result<boost::json::value> ask_gateway(const std::string& socket_path, const std::string& command,
                                       std::chrono::milliseconds patience,
                                       boost::json::value arguments = nullptr);

}  // namespace oceanid::process
