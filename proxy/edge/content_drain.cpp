#include "proxy/edge/content_drain.hpp"

#include <chrono>
#include <utility>

namespace oceanid::proxy {
namespace {

// A new connection costs the client less than a longer content.
constexpr std::size_t most_bytes = 64 << 10;
constexpr auto most_time = std::chrono::seconds(2);

}  // namespace

awaitable<bool> drain(Descriptor& client, RelayPool& pool, Timer& timer, std::string& buffered,
                      RequestContent& content) {
  const auto deadline = SteadyClock::now() + most_time;
  for (std::size_t taken = 0; !content.whole();) {
    if (content.known_rest() > most_bytes) co_return false;
    if (buffered.empty()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
      auto received = co_await receive(client, pool, timer, left);
      if (!received || received->empty()) co_return false;
      buffered = std::move(*received);
    }
    std::string unwanted;
    const std::size_t size = content.take(buffered, unwanted);
    buffered.erase(0, size);
    taken += size;
    if (content.broken() || taken > most_bytes) co_return false;
  }
  co_return true;
}

}  // namespace oceanid::proxy
