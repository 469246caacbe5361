#pragma once
// Structured log lines on standard error, one per event: `text` for a terminal, `json` for a
// collector. Levels: error = an operator must act; warn = something is wrong and handled; info =
// start, stop and state changes; debug = for us. Nothing that a stranger can trigger per byte is
// logged above debug. Thread-safe (spdlog's sink holds the one lock). Never pass keys, passwords or
// payload.

#include <chrono>
#include <cstddef>
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

// Before the first call: text at info. `process` ("netd", "worker") is part of every line; it must
// stay the same once there are threads.
void configure(Level level, Format format, std::string_view process);

// From now on a thread of its own writes, so that a collector that does not read stops nobody: when
// `lines` wait, the oldest give way and are counted. Once in a process, after its privileges and
// system calls have been restricted and before its other threads start; not before a fork.
void write_in_background(std::size_t lines);
std::uint64_t lost_lines();
// Waits until all is written, at most `patience`: a reader that has stalled does not hold our end
// up.
void flush(std::chrono::milliseconds patience);

// `area` is the folder that speaks: "proxy", "routing", "tunnel", "gateway".
void write(Level level, std::string_view area, std::string_view message,
           std::initializer_list<Field> fields = {});
bool enabled(Level level);
// A line that is complete in itself (an access record); printed as it is.
void raw(Level level, std::string_view line);

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
