#pragma once
// Every wait has an end: `co_await with_deadline(op(), 2s)` is the result, or none when time ran
// out (the operation is then cancelled and joined before this returns). T must be
// default-constructible.

#include "gateway/base/runtime/asio.hpp"

#include <chrono>
#include <optional>
#include <utility>
#include <variant>

#include <boost/asio/experimental/awaitable_operators.hpp>

namespace oceanid::tunnel {

template <typename T>
awaitable<std::optional<T>> with_deadline(awaitable<T> operation, std::chrono::nanoseconds limit) {
  using boost::asio::experimental::awaitable_operators::operator||;
  auto winner = co_await (std::move(operation) || sleep_for(limit));
  if (winner.index() == 0) co_return std::optional<T>(std::get<0>(std::move(winner)));
  co_return std::nullopt;
}

}  // namespace oceanid::tunnel
