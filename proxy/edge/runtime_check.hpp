#pragma once
// Whether a Runtime can be put in force: what only shows when it is used (certificates, keys,
// password files) is tried here, before anything is switched. One sentence that names the file.

#include "gateway/base/error.hpp"
#include "proxy/edge/runtime.hpp"

namespace oceanid::proxy {

Result<void> check_runtime(const Runtime& runtime);

}  // namespace oceanid::proxy
