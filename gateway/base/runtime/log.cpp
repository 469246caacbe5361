#include "gateway/base/runtime/log.hpp"

#include "gateway/base/json_text.hpp"

#include <atomic>
#include <chrono>
#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace oceanid::log {
namespace {

// The process's one log: spdlog's registry is a process-wide singleton, this only names its parts.
struct State {
  std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("oceanid",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  std::atomic<Level> level = Level::info;
  std::atomic<Format> format = Format::text;
  std::string process = "oceanid";  // written once by configure(), before threads start
};

State& state() {
  static State instance;
  return instance;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warn:
      return "warn";
    case Level::error:
      return "error";
  }
  return "error";
}

long long now_milliseconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

bool needs_quotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=\\\t\r\n") != std::string_view::npos;
}

}  // namespace

void configure(Level level, Format format, std::string_view process) {
  state().process = process;
  state().level = level;
  state().format = format;
}

void write(Level level, std::string_view area, std::string_view message,
           std::initializer_list<Field> fields) {
  State& s = state();
  if (level < s.level) return;
  std::string line;
  if (s.format == Format::json) {
    line = "{\"time\":\"" + format_utc(now_milliseconds()) + "\",\"level\":\"";
    line += name_of(level);
    line += "\",\"process\":\"" + s.process + "\",\"area\":\"";
    line += area;
    line += "\",\"message\":";
    append_json_string(line, message);
    for (const Field& field : fields) {
      line += ',';
      append_json_string(line, field.key);
      line += ':';
      append_json_string(line, field.value);
    }
    line += '}';
  } else {
    line = fmt::format("{} {:<5} {}/{}: {}", format_utc(now_milliseconds()), name_of(level),
                       s.process, area, message);
    for (const Field& field : fields) {
      line += ' ';
      line += field.key;
      line += '=';
      if (needs_quotes(field.value))
        append_json_string(line, field.value);
      else
        line += field.value;
    }
  }
  s.logger->info(line);
}

void raw(std::string_view line) {
  state().logger->info(line);
}

}  // namespace oceanid::log
