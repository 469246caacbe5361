// Values below /proc/sys. Those below net/ belong to the network namespace of the calling thread.

#include "gateway/base/runtime/unique_fd.hpp"
#include "routing/edge/linux_kernel.hpp"

#include <array>

#include <fcntl.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

Result<UniqueFd> open_sysctl(const std::string& path, int flags) {
  if (path.empty() || path.starts_with('/') || path.find("..") != std::string::npos)
    return fail(Errc::invalid_argument, "\"" + path + "\" is no path below /proc/sys");
  UniqueFd file(::open(("/proc/sys/" + path).c_str(), flags | O_CLOEXEC));
  if (!file) return fail_errno("/proc/sys/" + path);
  return file;
}

}  // namespace

Result<std::string> LinuxKernel::read_sysctl(const std::string& path) {
  auto file = open_sysctl(path, O_RDONLY);
  if (!file) return std::unexpected(std::move(file.error()));
  std::array<char, 4096> buffer{};
  const auto count = ::read(file->get(), buffer.data(), buffer.size());
  if (count < 0) return fail_errno("/proc/sys/" + path);
  std::string value(buffer.data(), static_cast<std::size_t>(count));
  while (value.ends_with('\n'))
    value.pop_back();
  return value;
}

Result<void> LinuxKernel::write_sysctl(const std::string& path, const std::string& value) {
  auto file = open_sysctl(path, O_WRONLY);
  if (!file) return std::unexpected(std::move(file.error()));
  const std::string line = value + "\n";
  if (::write(file->get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    return fail_errno("/proc/sys/" + path);
  return {};
}

}  // namespace oceanid::routing
