#include "routing/edge/memory_file.hpp"

#include <sys/mman.h>
#include <unistd.h>

namespace oceanid::routing {

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

}  // namespace oceanid::routing
