// The files of a rotation (key_store.hpp).
#include "gateway/base/runtime/unique_fd.hpp"
#include "tunnel/edge/key_store.hpp"

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

void sync_folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const UniqueFd directory(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) ::fsync(directory.get());
}

// `path` becomes the file that is `coming` now and stays known as `going`. The name `path` is never
// without a key: a start in between would make a third one.
Result<void> exchange(const std::string& path, const std::string& coming,
                      const std::string& going) {
  if (::access(coming.c_str(), F_OK) != 0) return fail_errno("looking for " + coming);
  if (::unlink(going.c_str()) != 0 && errno != ENOENT) return fail_errno("removing " + going);
  if (::link(path.c_str(), going.c_str()) != 0) return fail_errno("keeping " + going);
  sync_folder_of(path);
  if (::rename(coming.c_str(), path.c_str()) != 0) return fail_errno("replacing " + path);
  sync_folder_of(path);
  return {};
}

}  // namespace

std::string next_key_path(const std::string& path) {
  return path + ".next";
}

std::string former_key_path(const std::string& path) {
  return path + ".old";
}

Result<void> promote_next_key(const std::string& path) {
  return exchange(path, next_key_path(path), former_key_path(path));
}

Result<void> restore_former_key(const std::string& path) {
  return exchange(path, former_key_path(path), next_key_path(path));
}

Result<void> remove_key(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("removing " + path);
  sync_folder_of(path);
  return {};
}

std::optional<std::chrono::system_clock::time_point> key_born(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec);
}

}  // namespace oceanid::tunnel
