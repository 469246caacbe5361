#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/process/service_manager.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fmt/format.h>

#include <sys/socket.h>
#include <sys/un.h>

namespace oceanid::process {

ServiceManager::ServiceManager() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path != nullptr && (path[0] == '/' || path[0] == '@') &&
      std::strlen(path) < sizeof(sockaddr_un::sun_path))
    path_ = path;
}

void ServiceManager::ready(std::string_view status) const {
  std::string line(status);
  std::ranges::replace(line, '\n', ' ');  // what follows a line's end would be another message
  send(fmt::format("READY=1\nSTATUS={}", line));
}

void ServiceManager::reloading() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000 + now.tv_nsec / 1000));
}

void ServiceManager::stopping() const {
  send("STOPPING=1");
}

void ServiceManager::store(int fd, const std::string& name) const {
  send(fmt::format("FDSTORE=1\nFDNAME={}", name), fd);
}

void ServiceManager::forget(const std::string& name) const {
  send(fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name));
}

void ServiceManager::send(const std::string& text, int fd) const {
  if (path_.empty()) return;
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path_.data(), path_.size());
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';  // an abstract address
  iovec io{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof(int));
  }
  // The service manager's deafness must not stop the gateway: the message is lost, nothing else.
  static_cast<void>(::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

}  // namespace oceanid::process
