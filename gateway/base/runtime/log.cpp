#include "gateway/base/runtime/log.hpp"

#include "gateway/base/json_text.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace oceanid::log {
namespace {

constexpr auto look_again = std::chrono::milliseconds(2);

std::shared_ptr<spdlog::logger> prepared(std::shared_ptr<spdlog::logger> logger) {
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

// The process's one log: spdlog's registry is a process-wide singleton, this only names its parts.
struct State {
  spdlog::sink_ptr sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  std::shared_ptr<spdlog::details::thread_pool> writer;  // none: every caller writes itself
  std::shared_ptr<spdlog::logger> logger =
      prepared(std::make_shared<spdlog::logger>("oceanid", sink));
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
  if (state().process != process) state().process = process;
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

bool enabled(Level level) {
  return level >= state().level;
}

void raw(Level level, std::string_view line) {
  if (enabled(level)) state().logger->info(line);
}

void write_in_background(std::size_t lines) {
  State& s = state();
  s.writer = std::make_shared<spdlog::details::thread_pool>(lines, 1U);
  s.logger = prepared(std::make_shared<spdlog::async_logger>(
      "oceanid", s.sink, s.writer, spdlog::async_overflow_policy::overrun_oldest));
}

std::uint64_t lost_lines() {
  return state().writer ? state().writer->overrun_counter() : 0;
}

void flush(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const State& s = state();
  if (!s.writer) return;
  while (s.writer->queue_size() > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(look_again);
  // A line leaves the queue a moment before it is written.
  std::this_thread::sleep_for(look_again);
}

}  // namespace oceanid::log
