#pragma once
// What the command line does to this machine's kernel when no gateway runs: show the plan, close
// everything at boot, remove every trace; and this node's key while no gateway uses it.

#include "gateway/base/error.hpp"
#include "gateway/config/config.hpp"

#include <string>

namespace oceanid::process {

// What `run` would change, as text; changes nothing.
Result<std::string> plan_offline(const Config& config);

// Installs the closed state of the last good configuration, or of `config_file` when given.
Result<std::string> install_guard(const std::string& config_file);

Result<std::string> take_down_offline(const Config& config);

// Base64; the private key is created when there is none.
Result<std::string> own_public_key(const Config& config);

// `oceanid keys rotate` without a gateway: prepares the next key or removes it; with `force` it is
// the key of the next start.
Result<std::string> rotate_offline(const Config& config, bool abandon, bool force);

}  // namespace oceanid::process
