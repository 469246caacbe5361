#include "proxy/edge/host_files.hpp"

#include <array>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace oceanid::proxy {
namespace {

constexpr auto look_again = std::chrono::seconds(1);
constexpr std::size_t most_bytes = std::size_t{16} << 20U;  // block lists have some megabytes

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::optional<std::string> read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return std::nullopt;
  std::string out;
  std::array<char, 16384> piece;
  while (out.size() < most_bytes) {
    const ssize_t got = ::read(fd.get(), piece.data(), piece.size());
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    out.append(piece.data(), static_cast<std::size_t>(got));
  }
  return out;
}

std::string host_name() {
  std::array<char, 256> out{};
  if (::gethostname(out.data(), out.size() - 1) != 0) return {};
  return out.data();
}

}  // namespace

bool HostFiles::refresh(SteadyClock::time_point now) {
  if (looked_ && now - *looked_ < look_again) return false;
  const bool first = !looked_;
  looked_ = now;
  if (const auto text = read_if_changed(hosts_)) names_ = HostsFile::read(*text);
  auto conf = conf_;
  if (const auto text = read_if_changed(resolv_conf_))
    conf = read_resolv_conf(*text, host_name());
  else if (first)
    conf = read_resolv_conf({}, host_name());
  return std::exchange(conf_, conf) != conf || first;
}

// A file that has gone, or cannot be read now, changes nothing: what it said last still holds.
std::optional<std::string> HostFiles::read_if_changed(File& file) {
  struct stat found{};
  if (::stat(file.path.c_str(), &found) != 0) {
    file.stamp.reset();
    return std::nullopt;
  }
  const Stamp stamp{found.st_dev, found.st_ino, found.st_size, nanoseconds(found.st_mtim),
                    nanoseconds(found.st_ctim)};
  if (file.stamp == stamp) return std::nullopt;
  auto text = read_file(file.path);
  if (text) file.stamp = stamp;  // of before reading: a change in between is seen next time
  return text;
}

}  // namespace oceanid::proxy
