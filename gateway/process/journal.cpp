#include "gateway/process/journal.hpp"

#include "gateway/base/json_text.hpp"

#include <chrono>

namespace oceanid::process {

std::string now_text() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return format_utc(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

void Journal::add(const std::string& area, const std::string& text, log::Level level) {
  log::write(level, area, text, {});
  events_.push_back({now_text(), area, text});
  if (events_.size() > kept) events_.pop_front();
}

}  // namespace oceanid::process
