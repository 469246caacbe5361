#pragma once
// /etc/hosts and /etc/resolv.conf as they are now. They are looked at when somebody asks, at most
// once a second, and read when one has changed: a stat(2) costs a microsecond and sees a file
// that was replaced, a link that leads elsewhere and a bind mount alike, for which inotify would
// need a watch on every folder along the way. One thread.

#include "proxy/core/host_names.hpp"
#include "proxy/edge/socket_linux.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace oceanid::proxy {

struct HostFilePaths {
  std::string hosts = "/etc/hosts";
  std::string resolv_conf = "/etc/resolv.conf";
};

class HostFiles {
 public:
  explicit HostFiles(HostFilePaths paths)
      : hosts_{std::move(paths.hosts)}, resolv_conf_{std::move(paths.resolv_conf)} {}

  // True when resolv.conf says something else than before; always the first time.
  bool refresh(SteadyClock::time_point now);
  const HostsFile& hosts() const { return names_; }
  const ResolvConf& resolv_conf() const { return conf_; }

 private:
  struct Stamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t modified = 0;  // nanoseconds
    std::int64_t changed = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct File {
    std::string path;
    std::optional<Stamp> stamp = std::nullopt;  // none: not there, or not read yet
  };
  static std::optional<std::string> read_if_changed(File& file);

  File hosts_;
  File resolv_conf_;
  std::optional<SteadyClock::time_point> looked_;
  HostsFile names_;
  ResolvConf conf_;
};

}  // namespace oceanid::proxy
