#include "tunnel/core/key.hpp"
#include "tunnel/core/uapi_codec.hpp"
#include "tunnel/edge/deadline.hpp"
#include "tunnel/edge/uapi_client.hpp"

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

using Socket = asio::local::stream_protocol::socket;

std::unexpected<Error> failed(const std::string& path, const error_code& ec) {
  const bool absent = ec == asio::error::connection_refused || ec.value() == ENOENT;
  return std::unexpected<Error>(
      Error(absent ? Errc::not_found : Errc::io, path + ": " + ec.message(), ec.value()));
}

// Grows the buffer by hand, because std::string would leave copies of keys behind in freed memory.
void grow(std::string& text, std::size_t size) {
  std::string larger;
  larger.reserve(size);
  larger = text;
  wipe(text);
  text = std::move(larger);
}

awaitable<Result<std::string>> read_answer(Socket& socket, std::string path) {
  std::string text;
  text.reserve(std::size_t{16} << 10);
  while (true) {
    if (const auto length = uapi::answer_length(text)) {
      text.resize(*length);
      co_return text;
    }
    if (text.size() >= uapi::max_answer)
      co_return fail(Errc::limit, path + ": the answer is too long");
    if (text.size() + 4096 > text.capacity()) grow(text, text.capacity() * 2);
    const std::size_t before = text.size();
    text.resize(before + 4096);
    auto [ec, got] =
        co_await socket.async_read_some(asio::buffer(text.data() + before, 4096), as_result);
    text.resize(before + got);
    if (ec) co_return failed(path, ec);
  }
}

awaitable<Result<UapiAnswer>> exchange(std::string path, std::string request) {
  Socket socket(co_await asio::this_coro::executor);
  const asio::local::stream_protocol::endpoint endpoint(path);
  auto [connected] = co_await socket.async_connect(endpoint, as_result);
  if (connected) {
    wipe(request);
    co_return failed(path, connected);
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  // The request may carry our private key: only root or ourselves may listen there.
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != 0 && peer.uid != ::geteuid())) {
    wipe(request);
    co_return fail(Errc::permission, path + ": the listener is not ours");
  }
  auto [written, count] = co_await asio::async_write(socket, asio::buffer(request), as_result);
  wipe(request);
  if (written) co_return failed(path, written);
  auto text = co_await read_answer(socket, path);
  if (!text) co_return std::unexpected(std::move(text.error()));
  UapiAnswer answer;
  answer.text = std::move(*text);
  answer.server = peer.pid;
  co_return answer;
}

}  // namespace

awaitable<Result<UapiAnswer>> uapi_exchange(std::string socket_path, std::string request,
                                            std::chrono::nanoseconds patience) {
  // A path that does not fit sockaddr_un would make the endpoint's constructor throw.
  if (socket_path.size() >= 108)
    co_return fail(Errc::invalid_argument, socket_path + ": the path is too long for a socket");
  auto answer = co_await with_deadline(exchange(socket_path, std::move(request)), patience);
  if (!answer) co_return fail(Errc::timeout, socket_path + ": no answer");
  co_return std::move(*answer);
}

}  // namespace oceanid::tunnel
