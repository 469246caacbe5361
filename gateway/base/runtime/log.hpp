#pragma once
// Structured log lines on standard error, one per event: `text` for a terminal, `json` for a
// collector. Levels: error = an operator must act; warn = something is wrong and handled; info =
// start, stop and state changes; debug = for us. Nothing that a stranger can trigger per byte is
// logged above debug. Thread-safe (spdlog's sink holds the one lock). Never pass keys, passwords or
// payload.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace oceanid::log {

enum class Level : std::uint8_t { debug, info, warn, error };
enum class Format : std::uint8_t { json, text };

struct Field {
  std::string_view key;
  std::string value;
};

// Before the first call: text at info. `process` ("netd", "worker") is part of every line.
void configure(Level level, Format format, std::string_view process);

// `area` is the folder that speaks: "proxy", "routing", "tunnel", "gateway".
void write(Level level, std::string_view area, std::string_view message,
           std::initializer_list<Field> fields = {});
// A line that is complete in itself (an access record); printed as it is, at info.
void raw(std::string_view line);

inline void debug(std::string_view area, std::string_view message,
                  std::initializer_list<Field> fields = {}) {
  write(Level::debug, area, message, fields);
}
inline void info(std::string_view area, std::string_view message,
                 std::initializer_list<Field> fields = {}) {
  write(Level::info, area, message, fields);
}
inline void warn(std::string_view area, std::string_view message,
                 std::initializer_list<Field> fields = {}) {
  write(Level::warn, area, message, fields);
}
inline void error(std::string_view area, std::string_view message,
                  std::initializer_list<Field> fields = {}) {
  write(Level::error, area, message, fields);
}

}  // namespace oceanid::log
