#pragma once
// From configuration to the log's own settings.

#include <string_view>

#include "gateway/config/config.hpp"

namespace oceanid::process {

void configure_log(const LogSettings& settings, std::string_view process);

}  // namespace oceanid::process
