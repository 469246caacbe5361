#include "gateway/process/questions.hpp"

#include "gateway/ipc/connections.hpp"
#include "gateway/ipc/policy_answers.hpp"

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

awaitable<Result<boost::json::value>> explain(ProxyThreads& threads, boost::json::value arguments) {
  auto query = ipc::decode<proxy::ExplainQuery>(arguments, "explain");
  if (!query) co_return std::unexpected(std::move(query.error()));
  auto explained = co_await threads.explain(std::move(*query));
  if (!explained) co_return std::unexpected(std::move(explained.error()));
  co_return boost::json::value_from(*explained);
}

awaitable<Result<boost::json::value>> suggest(ProxyThreads& threads, boost::json::value arguments) {
  const auto* name = arguments.if_string();
  if (name == nullptr) co_return fail(Errc::protocol, "suggest: expected a role's name");
  const std::string role(name->data(), name->size());
  const auto parts = co_await threads.on_each<proxy::RoleInventory>(
      [role](proxy::Server& server) { return server.inventory_of(role); });
  proxy::Inventory all;
  for (const proxy::RoleInventory& part : parts)
    all.add(part);
  co_return boost::json::value_from(all.of(role));
}

awaitable<Result<boost::json::value>> forbidden(ProxyThreads& threads,
                                                boost::json::value arguments) {
  const auto* cut = arguments.if_bool();
  if (cut == nullptr) co_return fail(Errc::protocol, "forbidden: expected whether to cut");
  const auto parts = co_await threads.on_each<proxy::ConnectionList>(
      [wanted = *cut](proxy::Server& server) { return server.forbidden(wanted); });
  proxy::ConnectionList all;
  for (const proxy::ConnectionList& part : parts) {
    all.open += part.open;
    all.matching += part.matching;
    std::ranges::copy(part.connections, std::back_inserter(all.connections));
  }
  co_return boost::json::value_from(all);
}

}  // namespace

awaitable<Result<boost::json::value>> answer_question(ProxyThreads& threads, std::string command,
                                                      boost::json::value arguments) {
  if (command == "connections") co_return co_await list(threads, std::move(arguments));
  if (command == "kill") co_return co_await kill(threads, std::move(arguments));
  if (command == "explain") co_return co_await explain(threads, std::move(arguments));
  if (command == "suggest") co_return co_await suggest(threads, std::move(arguments));
  if (command == "forbidden") co_return co_await forbidden(threads, std::move(arguments));
  co_return fail(Errc::protocol, fmt::format("the worker does not know \"{}\"", command));
}

}  // namespace oceanid::process
