#pragma once
// From configuration to the log's own settings.

#include "gateway/config/config.hpp"

#include <string_view>

namespace oceanid::process {

void configure_log(const LogSettings& settings, std::string_view process);

// The same for a process that does not read the configuration: what level_name() said.
std::string_view level_name(LogLevel level);
void configure_log(std::string_view level, bool json, std::string_view process);

}  // namespace oceanid::process
