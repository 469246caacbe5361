#include "gateway/process/logging.hpp"

#include "gateway/base/runtime/log.hpp"

#include <algorithm>
#include <array>

namespace oceanid::process {
namespace {

struct Named {
  std::string_view name;
  LogLevel configured;
  log::Level level;
};
constexpr std::array levels{Named{"debug", LogLevel::debug, log::Level::debug},
                            Named{"info", LogLevel::info, log::Level::info},
                            Named{"warn", LogLevel::warn, log::Level::warn},
                            Named{"error", LogLevel::error, log::Level::error}};

}  // namespace

std::string_view level_name(LogLevel level) {
  return std::ranges::find(levels, level, &Named::configured)->name;
}

void configure_log(const LogSettings& settings, std::string_view process) {
  configure_log(level_name(settings.level), settings.format == LogFormat::json, process);
}

void configure_log(std::string_view level, bool json, std::string_view process) {
  const auto* const known = std::ranges::find(levels, level, &Named::name);
  log::configure(known == levels.end() ? log::Level::info : known->level,
                 json ? log::Format::json : log::Format::text, process);
}

}  // namespace oceanid::process
