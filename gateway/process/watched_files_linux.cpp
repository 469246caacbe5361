#include "gateway/process/watched_files.hpp"

#include <sys/stat.h>

namespace oceanid::process {

void WatchedFiles::forget_all() {
  known_.clear();
  seen_.clear();
}

void WatchedFiles::watch(const std::vector<std::string>& paths) {
  for (const std::string& path : paths)
    if (!path.empty() && !known_.contains(path)) known_.emplace(path, look_at(path));
}

bool WatchedFiles::changed() {
  Stamps now = known_;
  for (auto& [path, stamp] : now)
    if (const auto found = look_at(path)) stamp = found;
  const bool at_rest = now == seen_;
  if (now == known_ || !at_rest) {
    seen_ = std::move(now);
    return false;
  }
  known_ = std::move(now);
  return true;
}

std::optional<WatchedFiles::Stamp> WatchedFiles::look_at(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return Stamp{found.st_dev, found.st_ino, found.st_size,
               found.st_mtim.tv_sec * 1'000'000'000LL + found.st_mtim.tv_nsec};
}

}  // namespace oceanid::process
