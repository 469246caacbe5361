#include "proxy/edge/ares_channel.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sys/time.h>
#include <sys/uio.h>

namespace oceanid::proxy {
namespace {

constexpr int class_in = 1;
constexpr int type_a = 1;
constexpr int type_aaaa = 28;

std::string server_list(const std::vector<SocketAddress>& servers) {
  std::vector<std::string> texts;
  for (const auto& server : servers)
    texts.push_back(server.to_string());
  return fmt::format("{}", fmt::join(texts, ","));
}

}  // namespace

Result<std::unique_ptr<AresChannel>> AresChannel::open(asio::io_context& io, AresConfig config) {
  auto out = std::make_unique<AresChannel>(Private{}, io, std::move(config));
  if (auto ready = out->init(); !ready) return std::unexpected(std::move(ready.error()));
  return out;
}

AresChannel::AresChannel(Private, asio::io_context& io, AresConfig config)
    : io_(io), config_(std::move(config)), timer_(std::make_shared<Timer>(io.get_executor())) {}

AresChannel::~AresChannel() {
  if (channel_ != nullptr) ares_destroy(channel_);
}

Result<void> AresChannel::init() {
  ares_options options{};
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
  options.timeout = static_cast<int>(config_.wait.count());
  options.tries = config_.tries;
  options.resolvconf_path = no_file_.data();  // what it says is in config_
  options.lookups = only_servers_.data();
  options.sock_state_cb = [](void* self, ares_socket_t fd, int read, int write) {
    static_cast<AresChannel*>(self)->on_state(fd, read != 0, write != 0);
  };
  options.sock_state_cb_data = this;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_RESOLVCONF |
                   ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
                   (config_.rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
  if (const int rc = ares_init_options(&channel_, &options, mask); rc != ARES_SUCCESS) {
    channel_ = nullptr;
    return fail(Errc::io, fmt::format("starting the resolver: {}", ares_strerror(rc)));
  }
  install_socket_functions();
  const std::string list = server_list(config_.servers);
  if (const int rc = ares_set_servers_ports_csv(channel_, list.c_str()); rc != ARES_SUCCESS)
    return fail(Errc::invalid_argument, fmt::format("dns.servers: {}", ares_strerror(rc)));
  return {};
}

// With socket functions of our own, c-ares sets no option on a socket: all is done here.
void AresChannel::install_socket_functions() {
  static const ares_socket_functions functions = {
      .asocket = [](int domain, int type, int protocol, void*) -> ares_socket_t {
        return ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
      },
      .aclose = [](ares_socket_t fd, void* self) -> int {
        static_cast<AresChannel*>(self)->forget(fd);
        return ::close(fd);
      },
      .aconnect = [](ares_socket_t fd, const sockaddr* address, ares_socklen_t length, void* self)
          -> int { return static_cast<AresChannel*>(self)->connect(fd, address, length); },
      .arecvfrom = [](ares_socket_t fd, void* buffer, std::size_t size, int flags, sockaddr* from,
                      ares_socklen_t* from_length, void*) -> ares_ssize_t {
        return ::recvfrom(fd, buffer, size, flags, from, from_length);
      },
      .asendv = [](ares_socket_t fd, const iovec* parts, int count, void*) -> ares_ssize_t {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(parts);  // sendmsg(2) only reads it
        message.msg_iovlen = static_cast<std::size_t>(count);
        return ::sendmsg(fd, &message, MSG_NOSIGNAL);
      },
  };
  ares_set_socket_functions(channel_, &functions, this);
}

int AresChannel::connect(int fd, const sockaddr* address, socklen_t length) {
  NativeAddress raw;
  raw.length = std::min<socklen_t>(length, sizeof raw.storage);
  std::memcpy(&raw.storage, address, raw.length);
  const auto device = config_.device_for(plain_address(raw).address);
  const int refused = !device ? device.error() : device->empty() ? 0 : bind_to_device(fd, *device);
  if (refused != 0) {
    errno = refused;
    return -1;
  }
  return ::connect(fd, address, length);
}

void AresChannel::ask(const std::string& name, Family family, Done done) {
  auto owned = std::make_unique<Done>(std::move(done));
  ares_query(
      channel_, name.c_str(), class_in, family == Family::v4 ? type_a : type_aaaa,
      [](void* arg, int status, int, unsigned char* reply, int size) {
        const std::unique_ptr<Done> callback(static_cast<Done*>(arg));
        const auto* bytes = reinterpret_cast<const char*>(reply);
        (*callback)(status, reply == nullptr || size <= 0
                                ? std::string_view()
                                : std::string_view(bytes, static_cast<std::size_t>(size)));
      },
      owned.release());  // c-ares calls back exactly once, also when it is destroyed
  arm_timer();
}

void AresChannel::on_state(int fd, bool read, bool write) {
  if (!read && !write) return forget(fd);
  auto& watch = watches_[fd];
  if (!watch) watch = std::make_shared<Watch>(io_, fd);
  watch->wants_read = read;
  watch->wants_write = write;
  wait(watch, fd);
}

void AresChannel::wait(const std::shared_ptr<Watch>& watch, int fd) {
  // Handlers hold the watch weakly: once it is forgotten they do nothing, and a later socket with
  // the same number has a watch of its own.
  if (watch->wants_read && !watch->reading) {
    watch->reading = true;
    watch->descriptor.async_wait(Descriptor::wait_read, [this, fd,
                                                         weak = std::weak_ptr(watch)](error_code) {
      const auto alive = weak.lock();
      if (!alive) return;
      alive->reading = false;
      process(fd, ARES_SOCKET_BAD);
      if (const auto again = watches_.find(fd); again != watches_.end() && again->second == alive)
        wait(alive, fd);
    });
  }
  if (watch->wants_write && !watch->writing) {
    watch->writing = true;
    watch->descriptor.async_wait(Descriptor::wait_write, [this, fd,
                                                          weak = std::weak_ptr(watch)](error_code) {
      const auto alive = weak.lock();
      if (!alive) return;
      alive->writing = false;
      process(ARES_SOCKET_BAD, fd);
      if (const auto again = watches_.find(fd); again != watches_.end() && again->second == alive)
        wait(alive, fd);
    });
  }
}

void AresChannel::forget(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return;
  static_cast<void>(found->second->descriptor.release());  // c-ares closes it
  watches_.erase(found);
}

void AresChannel::process(int read_fd, int write_fd) {
  ares_process_fd(channel_, read_fd, write_fd);
  arm_timer();
}

void AresChannel::arm_timer() {
  timeval next{};
  if (ares_timeout(channel_, nullptr, &next) == nullptr) {
    timer_->cancel();
    return;
  }
  timer_->expires_after(std::chrono::seconds(next.tv_sec) +
                        std::chrono::microseconds(next.tv_usec));
  timer_->async_wait([this, weak = std::weak_ptr(timer_)](error_code ec) {
    if (!ec && !weak.expired()) process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  });
}

}  // namespace oceanid::proxy
