#pragma once
// Small files that must never be seen half written: state and keys. Synchronous; the files are a
// few kilobytes on a local disk.

#include "gateway/base/error.hpp"

#include <cstddef>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace oceanid {

enum class Existing : bool { replace, keep };

// Temporary file in the same folder, fsync, rename, fsync of the folder. With Existing::keep a file
// that is there already stays and the error is Errc::already_exists.
Result<void> write_file_atomically(const std::string& path, std::string_view contents, mode_t mode,
                                   Existing existing = Existing::replace);

// not_found when there is none; limit when it is longer than `max_bytes`.
Result<std::string> read_small_file(const std::string& path, std::size_t max_bytes);

}  // namespace oceanid
