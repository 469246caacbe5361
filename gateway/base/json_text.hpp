#pragma once
// Writing JSON by hand where a document library would be heavy: log lines and access records.

#include <string>
#include <string_view>

namespace oceanid {

// Appends `text` as a JSON string with its quotes (RFC 8259 section 7). Bytes that are not valid
// UTF-8 become U+FFFD, so that hostile input cannot break a collector.
void append_json_string(std::string& out, std::string_view text);

// RFC 3339 in UTC with milliseconds: 2026-11-21T05:12:00.123Z
std::string format_utc(long long unix_milliseconds);

}  // namespace oceanid
