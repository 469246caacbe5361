#include "proxy/edge/credentials.hpp"

#include <utility>

namespace oceanid::proxy {

awaitable<std::expected<std::string, Refusal>> check_password(
    ServerCore& core, std::shared_ptr<const Snapshot> snapshot, IpAddress client,
    Credentials given) {
  const auto users = snapshot->runtime->users;
  if (!users) co_return std::string();
  // A NUL would end the password for crypt(3) before it ends for us.
  if (given.user.size() > max_user || given.password.size() > max_password ||
      given.password.contains('\0'))
    co_return std::unexpected(Refusal{Reason::auth_failed, {}, {}});
  if (users->is_remembered(given.user, given.password)) co_return given.user;
  if (!core.ledger().may_try_password(client)) {
    core.stats().shed(Reason::auth_limit);
    co_return std::unexpected(Refusal{Reason::auth_limit, {}, {}});
  }
  const auto user = co_await users->verify(std::move(given.user), std::move(given.password));
  if (!user) co_return std::unexpected(Refusal{Reason::auth_failed, {}, {}});
  core.ledger().password_was_right(client);
  co_return *user;
}

awaitable<std::expected<std::string, Refusal>> authenticate(
    ServerCore& core, std::shared_ptr<const Snapshot> snapshot, Identity who,
    std::optional<std::string> proxy_authorization) {
  if (!snapshot->runtime->users) co_return std::string();
  if (!proxy_authorization && !who.certificates.empty()) co_return std::string();
  if (!proxy_authorization) co_return std::unexpected(Refusal{Reason::auth_required, {}, {}});
  auto given = parse_basic(*proxy_authorization);
  if (!given)
    co_return std::unexpected(Refusal{
        Reason::auth_required, "the Proxy-Authorization field is not in the Basic scheme", {}});
  co_return co_await check_password(core, std::move(snapshot), who.source, std::move(*given));
}

}  // namespace oceanid::proxy
