#pragma once
// Who is this client? Asked by every protocol that has words for a user and a password, before
// policy. Wrong passwords are limited for each client.

#include "proxy/core/htpasswd.hpp"
#include "proxy/edge/server_core.hpp"

#include <expected>
#include <optional>
#include <string>

namespace oceanid::proxy {

// HTTP: the value of Proxy-Authorization, if there is one. The user's name; empty when nobody needs
// a password (no users' file, or a client whose certificate proves it). Refusals: auth_required,
// auth_failed, auth_limit.
awaitable<std::expected<std::string, Refusal>> authenticate(
    ServerCore& core, std::shared_ptr<const Snapshot> snapshot, Identity who,
    std::optional<std::string> proxy_authorization);

// SOCKS5: user and password as given.
awaitable<std::expected<std::string, Refusal>> check_password(
    ServerCore& core, std::shared_ptr<const Snapshot> snapshot, IpAddress client,
    Credentials given);

}  // namespace oceanid::proxy
