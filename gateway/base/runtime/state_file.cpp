#include "gateway/base/runtime/state_file.hpp"

#include "gateway/base/runtime/unique_fd.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace oceanid {
namespace {

// Holds every key and state file of a usual size, which are then read without moving a secret
// about.
constexpr std::size_t first_guess = 65536;

Result<void> write_all(int descriptor, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t written = ::write(descriptor, contents.data(), contents.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return fail_errno("writing " + path);
    }
    contents.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(descriptor) != 0) return fail_errno("writing " + path + " to disk");
  return {};
}

Result<void> move_into_place(const std::string& from, const std::string& to, Existing existing) {
  if (existing == Existing::keep) {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno == EEXIST) return fail(Errc::already_exists, to + " exists already");
    if (errno != EINVAL) return fail_errno("creating " + to);
    // A file system without RENAME_NOREPLACE: link() refuses an existing name as well.
    if (::link(from.c_str(), to.c_str()) != 0) {
      if (errno == EEXIST) return fail(Errc::already_exists, to + " exists already");
      return fail_errno("creating " + to);
    }
    ::unlink(from.c_str());
    return {};
  }
  if (::rename(from.c_str(), to.c_str()) != 0) return fail_errno("replacing " + to);
  return {};
}

}  // namespace

Result<void> write_file_atomically(const std::string& path, std::string_view contents, mode_t mode,
                                   Existing existing) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  std::string temporary = path + ".XXXXXX";
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));  // created 0600
  if (!file) return fail_errno("creating a file beside " + path);
  auto done = write_all(file.get(), contents, path);
  if (done && ::fchmod(file.get(), mode) != 0) done = fail_errno("setting the mode of " + path);
  if (done) done = move_into_place(temporary, path, existing);
  if (!done) {
    ::unlink(temporary.c_str());
    return done;
  }
  // The rename itself must survive a power cut, too.
  const UniqueFd directory(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) ::fsync(directory.get());
  return {};
}

Result<std::string> read_small_file(const std::string& path, std::size_t max_bytes) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    if (errno == ENOENT) return fail(Errc::not_found, path + " does not exist");
    return fail_errno("opening " + path);
  }
  const std::size_t most = max_bytes + 1;  // one more tells that it is too long
  std::string contents(std::min(most, first_guess), '\0');
  std::size_t size = 0;
  while (size < most) {
    if (size == contents.size()) contents.resize(std::min(most, 2 * size));
    const ssize_t got = ::read(file.get(), contents.data() + size, contents.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("reading " + path);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > max_bytes) return fail(Errc::limit, path + " is longer than expected");
  contents.resize(size);
  return contents;
}

}  // namespace oceanid
