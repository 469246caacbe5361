#pragma once
// What a child program reads and writes, as files in memory: no pipe can fill up, so that neither
// side can block the other.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <string>
#include <string_view>

namespace oceanid {

// Closed on exec, with `contents`, read from its beginning.
Result<UniqueFd> memory_file(std::string_view contents);
// All that stands in it now, from its beginning.
std::string contents_of(const UniqueFd& file);

}  // namespace oceanid
