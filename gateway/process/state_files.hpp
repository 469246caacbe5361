#pragma once
// What netd keeps on disk below state_dir, and the folders themselves.

#include "gateway/base/error.hpp"
#include "gateway/config/config.hpp"

#include <string>

#include <sys/types.h>

namespace oceanid::process {

// Creates the folder and its parents; an existing one is left as it is.
Result<void> ensure_folder(const std::string& path, mode_t mode);

// A UUID that stays the same over restarts (cloudflared's connectorId). When it cannot be kept, a
// fresh one for this process's life, with a warning.
std::string load_or_create_connector_id(const std::string& state_dir);

// Why `next` cannot replace `now` without a restart; ok when it can. `privileged`: netd kept
// NET_ADMIN.
Result<void> check_reloadable(const Config& now, const Config& next, bool privileged);

bool intercepts(const Config& config);  // a listener brings connections to itself
bool needs_privileges(const Config& config);

}  // namespace oceanid::process
