#pragma once
// The house's one way to use Asio: short names, one completion token, a deadline for every wait.

#include <chrono>
#include <optional>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

namespace oceanid {

namespace asio = boost::asio;
using boost::system::error_code;
template <typename T>
using awaitable = asio::awaitable<T>;

// Errors come back as values: `auto [ec, n] = co_await socket.async_read_some(buffer, as_result);`
inline constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

// Sleeps; returns at once with an error when the coroutine is cancelled.
awaitable<error_code> sleep_for(std::chrono::nanoseconds duration);

}  // namespace oceanid
