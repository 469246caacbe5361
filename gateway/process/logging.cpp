#include "gateway/process/logging.hpp"

#include "gateway/base/runtime/log.hpp"

namespace oceanid::process {

void configure_log(const LogSettings& settings, std::string_view process) {
  auto level = log::Level::info;
  switch (settings.level) {
    case LogLevel::debug:
      level = log::Level::debug;
      break;
    case LogLevel::info:
      level = log::Level::info;
      break;
    case LogLevel::warn:
      level = log::Level::warn;
      break;
    case LogLevel::error:
      level = log::Level::error;
      break;
  }
  log::configure(level, settings.format == LogFormat::json ? log::Format::json : log::Format::text,
                 process);
}

}  // namespace oceanid::process
