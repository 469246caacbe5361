#include "gateway/base/runtime/memory_file.hpp"

#include <array>

#include <sys/mman.h>
#include <unistd.h>

namespace oceanid {

Result<UniqueFd> memory_file(std::string_view contents) {
  UniqueFd file(::memfd_create("oceanid", MFD_CLOEXEC));
  if (!file) return fail_errno("memfd_create");
  while (!contents.empty()) {
    const auto count = ::write(file.get(), contents.data(), contents.size());
    if (count < 0) return fail_errno("writing to a memory file");
    contents.remove_prefix(static_cast<std::size_t>(count));
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::string contents_of(const UniqueFd& file) {
  ::lseek(file.get(), 0, SEEK_SET);
  std::string out;
  std::array<char, 65536> chunk{};
  for (;;) {
    const auto count = ::read(file.get(), chunk.data(), chunk.size());
    if (count <= 0) return out;
    out.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace oceanid
