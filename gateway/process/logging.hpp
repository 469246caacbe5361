#pragma once
// From configuration to the log's own settings.

#include "gateway/config/config.hpp"

#include <string_view>

namespace oceanid::process {

void configure_log(const LogSettings& settings, std::string_view process);

}  // namespace oceanid::process
