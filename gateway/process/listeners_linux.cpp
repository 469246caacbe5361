#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/process/listeners.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

constexpr int accept_backlog =
    4096;  // capped by net.core.somaxconn; holds connections over a restart
constexpr int first_inherited_fd = 3;
constexpr std::string_view store_prefix = "oceanid.";

// IPv4's option is the same flag of the socket in both families. It is never taken back: without
// rules that assign packets to it, it changes nothing.
Result<void> make_transparent(int fd, const WantedListener& wanted) {
  const int on = 1;
  if (!wanted.transparent || ::setsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, sizeof on) == 0)
    return {};
  auto failed = fail_errno(fmt::format("listen on {} (IP_TRANSPARENT)", wanted.bind.to_string()));
  if (failed.error().os_error == EPERM) failed.error().what += "; intercept needs CAP_NET_ADMIN";
  return failed;
}

Result<UniqueFd> open_socket(const WantedListener& wanted) {
  const auto where = fmt::format("listen on {}", wanted.bind.to_string());
  const int family = wanted.bind.address.is_v4() ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(where);
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
    return fail_errno(where + " (SO_REUSEPORT)");
  // [::] means both families, as users expect; a literal IPv6 address means itself.
  if (family == AF_INET6) {
    const int only = wanted.bind.address.is_unspecified() ? off : on;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  const NativeAddress address = to_native(wanted.bind);
  if (::bind(fd.get(), address.get(), address.length) != 0) {
    const int why = errno;
    auto failed = fail_errno(where, why);
    if (why == EADDRINUSE) failed.error().what += "; another program holds the port";
    if (why == EACCES)
      failed.error().what += "; ports below 1024 need CAP_NET_BIND_SERVICE when the gateway starts";
    return failed;
  }
  if (auto done = make_transparent(fd.get(), wanted); !done)
    return std::unexpected(std::move(done.error()));
  if (::listen(fd.get(), accept_backlog) != 0) return fail_errno(where);
  return fd;
}

std::uint32_t environment_number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  const auto number = parse_decimal(text, 1'000'000);
  return number ? static_cast<std::uint32_t>(*number) : 0;
}

bool is_listening_socket(int fd) {
  int listening = 0;
  socklen_t size = sizeof listening;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening == 1;
}

std::set<std::string> keys_of(const std::vector<WantedListener>& wanted) {
  std::set<std::string> out;
  for (const auto& one : wanted)
    out.insert(one.tag.key);
  return out;
}

}  // namespace

std::string store_name(const std::string& key) {
  std::string out(store_prefix);
  for (const char c : key)
    out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string key_of_store_name(const std::string& name) {
  if (!name.starts_with(store_prefix)) return {};
  const std::string_view hex = std::string_view(name).substr(store_prefix.size());
  if (hex.size() % 2 != 0) return {};
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned value = 0;
    const auto [end, ec] = std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    if (ec != std::errc() || end != hex.data() + i + 2) return {};
    out += static_cast<char>(value);
  }
  return out;
}

std::vector<WantedListener> wanted_listeners(const Config& config, std::uint32_t cores) {
  std::vector<WantedListener> out;
  const auto add = [&](std::string_view kind, const SocketAddress& bind, std::uint32_t count,
                       bool transparent = false) {
    for (std::uint32_t core = 0; core < count; ++core) {
      WantedListener wanted;
      wanted.tag.kind = kind;
      wanted.tag.bind = bind.to_string();
      wanted.tag.core = core;
      wanted.tag.key = fmt::format("{} {} #{}", kind, bind.to_string(), core);
      wanted.bind = bind;
      wanted.transparent = transparent;
      out.push_back(std::move(wanted));
    }
  };
  for (const auto& listener : config.proxy.listeners)
    add("proxy", listener.bind, cores, listener.takes_by_tproxy());
  for (const auto& forward : config.forwards)
    add("forward", forward.bind, cores);
  add("admin", config.admin_bind, 1);
  if (config.tunnel && config.tunnel->tls)
    add(transport_listener_kind, config.tunnel->tls->bind, 1);
  return out;
}

std::vector<std::string> ListenerSet::adopt_inherited(const std::vector<WantedListener>& wanted) {
  std::vector<std::string> unwanted;
  if (environment_number("LISTEN_PID") != static_cast<std::uint32_t>(::getpid())) return unwanted;
  const std::set<std::string> keys = keys_of(wanted);
  const std::uint32_t count = environment_number("LISTEN_FDS");
  std::string names = std::getenv("LISTEN_FDNAMES") == nullptr ? "" : std::getenv("LISTEN_FDNAMES");
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto colon = names.find(':');
    const std::string name = names.substr(0, colon);
    const std::string key = key_of_store_name(name);
    names = colon == std::string::npos ? std::string() : names.substr(colon + 1);
    UniqueFd fd(first_inherited_fd + static_cast<int>(i));
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    if (key.empty()) continue;
    if (keys.contains(key) && is_listening_socket(fd.get())) {
      sockets_.insert_or_assign(key, std::move(fd));
    } else {
      ::shutdown(fd.get(), SHUT_RDWR);
      unwanted.push_back(name);
    }
  }
  for (const auto* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
    ::unsetenv(name);
  return unwanted;
}

Result<void> ListenerSet::open(const std::vector<WantedListener>& wanted) {
  std::map<std::string, UniqueFd> fresh;
  for (const auto& one : wanted) {
    if (const auto kept = sockets_.find(one.tag.key); kept != sockets_.end()) {
      if (auto done = make_transparent(kept->second.get(), one); !done)
        return std::unexpected(std::move(done.error()));
      continue;
    }
    auto fd = open_socket(one);
    if (!fd) return std::unexpected(std::move(fd.error()));
    fresh.insert_or_assign(one.tag.key, std::move(*fd));
  }
  sockets_.merge(fresh);
  return {};
}

std::vector<std::string> ListenerSet::retain(const std::vector<WantedListener>& wanted) {
  const std::set<std::string> keys = keys_of(wanted);
  std::vector<std::string> gone;
  for (const auto& [key, fd] : sockets_)
    if (!keys.contains(key)) gone.push_back(key);
  for (const auto& key : gone)
    sockets_.erase(key);
  return gone;
}

}  // namespace oceanid::process
