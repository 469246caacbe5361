#include "gateway/process/questions.hpp"

#include "gateway/ipc/connections.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

constexpr std::uint32_t most_listed = 10000;  // well below what a frame may hold

awaitable<Result<boost::json::value>> list(ProxyThreads& threads, boost::json::value arguments) {
  auto filter = ipc::decode<proxy::ConnectionFilter>(arguments, "connections");
  if (!filter) co_return std::unexpected(std::move(filter.error()));
  filter->limit = std::min(filter->limit, most_listed);
  auto parts = co_await threads.on_each<proxy::ConnectionList>(
      [wanted = *filter](proxy::Server& server) { return server.connections(wanted); });
  proxy::ConnectionList all;
  for (proxy::ConnectionList& part : parts) {
    all.open += part.open;
    all.matching += part.matching;
    std::ranges::move(part.connections, std::back_inserter(all.connections));
  }
  std::ranges::sort(all.connections, std::ranges::greater(), &proxy::ConnectionView::age_seconds);
  if (all.connections.size() > filter->limit) all.connections.resize(filter->limit);
  co_return boost::json::value_from(all);
}

awaitable<Result<boost::json::value>> kill(ProxyThreads& threads, boost::json::value arguments) {
  const auto* id = arguments.if_string();
  if (id == nullptr) co_return fail(Errc::protocol, "kill: expected a tunnel's id");
  const std::string wanted(id->data(), id->size());
  const auto ended = co_await threads.on_each<char>(
      [wanted](proxy::Server& server) -> char { return server.end_tunnel(wanted) ? 1 : 0; });
  if (std::ranges::find(ended, 1) == ended.end())
    co_return fail(Errc::not_found, fmt::format("no open tunnel has the id {}", wanted));
  co_return boost::json::value(fmt::format("tunnel {} is closed", wanted));
}

}  // namespace

awaitable<Result<boost::json::value>> answer_question(ProxyThreads& threads, std::string command,
                                                      boost::json::value arguments) {
  if (command == "connections") co_return co_await list(threads, std::move(arguments));
  if (command == "kill") co_return co_await kill(threads, std::move(arguments));
  co_return fail(Errc::protocol, fmt::format("the worker does not know \"{}\"", command));
}

}  // namespace oceanid::process
