#pragma once
// Notices that the files a configuration was read from have changed. By stat(2) at every look, not
// by inotify(7): a mounted ConfigMap is a chain of symbolic links that are swapped two folders
// away, network file systems tell nothing, and a handful of stat calls a second costs less than
// being wrong about either.
// Lives on netd's event loop.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::process {

class WatchedFiles {
 public:
  // Before a file is read: what is written while it is being read counts as a change. An empty path
  // is nothing.
  void forget_all();
  void watch(const std::vector<std::string>& paths);

  // True once for each change that has come to rest, that is, looks the same at two looks: writers
  // are given the time between them to finish. A file that is gone is no change: there is nothing
  // to follow, and whoever replaces it will write it again.
  bool changed();

 private:
  struct Stamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t modified_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  using Stamps = std::map<std::string, std::optional<Stamp>>;  // none: not there
  static std::optional<Stamp> look_at(const std::string& path);

  Stamps known_;
  Stamps seen_;  // at the last look, when that differed
};

}  // namespace oceanid::process
