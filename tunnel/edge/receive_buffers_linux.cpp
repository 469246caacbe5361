#include "tunnel/edge/receive_buffers.hpp"

#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

extern "C" {  // glibc 2.36 forgot to say so in this header
#include <sys/pidfd.h>
}

namespace oceanid::tunnel {
namespace {

// "socket:[INODE]", as the kernel names the target of /proc/PID/fd/N.
std::optional<std::uint64_t> socket_inode(const std::filesystem::path& link) {
  constexpr std::string_view prefix = "socket:[";
  std::array<char, 64> target{};
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  std::string_view text(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  if (!text.starts_with(prefix) || !text.ends_with(']')) return std::nullopt;
  return parse_decimal(text.substr(prefix.size(), text.size() - prefix.size() - 1), UINT64_MAX);
}

int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

Result<void> widen(int fd, int bytes) {
  if (option(fd, SO_PROTOCOL) != IPPROTO_UDP) return {};
  if (option(fd, SO_RCVBUF) / 2 >= bytes) return {};  // the kernel tells twice what was asked for
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    return fail_errno("enlarging a receive buffer");
  return {};
}

}  // namespace

Result<void> widen_receive_buffers(const ProcessIdentity& process, int bytes,
                                   std::set<std::uint64_t>& known) {
  const auto held = watch(process);
  if (!held) return std::unexpected(held.error());
  const std::string folder = "/proc/" + std::to_string(process.pid) + "/fd";
  std::error_code ec;
  std::filesystem::directory_iterator entries(folder, ec);
  if (ec) return fail_errno("reading " + folder, ec.value());
  std::set<std::uint64_t> present;
  for (; entries != std::filesystem::directory_iterator() && !ec; entries.increment(ec)) {
    const auto inode = socket_inode(entries->path());
    const auto descriptor = parse_decimal(entries->path().filename().native(), INT32_MAX);
    if (!inode || !descriptor) continue;
    if (!known.contains(*inode)) {
      const UniqueFd socket(::pidfd_getfd(held->get(), static_cast<int>(*descriptor), 0));
      if (!socket && errno == EBADF) continue;  // closed since
      if (!socket) return fail_errno("taking a socket of process " + std::to_string(process.pid));
      if (auto widened = widen(socket.get(), bytes); !widened) return widened;
    }
    present.insert(*inode);
  }
  known = std::move(present);
  return {};
}

}  // namespace oceanid::tunnel
