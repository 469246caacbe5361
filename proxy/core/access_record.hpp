#pragma once
// One line for each request or forwarded connection, written when it ends. The field names and
// their order are a contract (deploy/ANSWERS.md lists them); a field without a value is null
// in JSON and "-" in text.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace oceanid::proxy {

struct AccessRecord {
  using Duration = std::optional<std::chrono::microseconds>;  // none: that step was never reached

  std::string id;
  std::int64_t time = 0;  // when the request began, milliseconds since 1970 UTC
  std::string source;     // ADDRESS:PORT of the client
  std::string role;
  std::string method;      // CONNECT, "forward" for a forward
  std::string host;        // as canonicalised; as sent when it could not be
  std::uint16_t port = 0;  // 0: none
  std::string address;     // the address dialled
  std::string exit;
  std::string rule;     // what allowed or denied it
  std::string verdict;  // allow | deny | report
  int status = 0;       // 0: no reply (forwards)
  std::string error;    // Reason token, empty when all went well
  Duration dns;
  Duration connect;
  Duration first_byte;  // first byte from the destination
  Duration duration;
  std::uint64_t bytes_up = 0;  // client to destination
  std::uint64_t bytes_down = 0;
  std::string closed_by;  // client | server | idle | limit | drain | proxy

  std::string to_json() const;  // one object, one line, no newline at its end
  std::string to_text() const;  // key=value, space-separated, quoted where needed
};

// Untrusted text in a record is cut to this many bytes (at a UTF-8 boundary), "..." appended.
inline constexpr std::size_t record_text_limit = 256;

}  // namespace oceanid::proxy
