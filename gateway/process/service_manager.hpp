#pragma once
// What systemd (or anything with its protocol) is told: ready, reloading, stopping, one status
// line, and the listening sockets to keep while we are away (sd_notify(3), file descriptor store).
// Without NOTIFY_SOCKET every call does nothing.

#include <string>
#include <string_view>

namespace oceanid::process {

class ServiceManager {
 public:
  ServiceManager();  // reads NOTIFY_SOCKET
  void ready(std::string_view status) const;
  void reloading() const;
  void stopping() const;
  void store(int fd, const std::string& name) const;
  void forget(const std::string& name) const;
  bool present() const { return !path_.empty(); }

 private:
  void send(const std::string& text, int fd = -1) const;
  std::string path_;
};

}  // namespace oceanid::process
