#pragma once
// How full the kernel's table of connections is, and what it had to refuse. Values; the text is
// that of /proc/net/stat/nf_conntrack.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::routing {

struct ConntrackFigures {
  std::uint64_t entries = 0;
  std::uint64_t limit = 0;
  std::uint64_t insert_failed = 0;  // no free port for a translation, or lost a race for one
  std::uint64_t dropped = 0;        // the table was full, or out of memory
  bool operator==(const ConntrackFigures&) const = default;
};

// insert_failed and drop summed over the processors; none when the text is not what we know.
std::optional<ConntrackFigures> parse_conntrack_stat(std::string_view text);

// Says when something has to be told. Fill is told at 80 % and again after it was below 70 %;
// refusals at most once a minute of ticks.
class ConntrackWatch {
 public:
  std::optional<std::string> tick(const ConntrackFigures& now, std::uint64_t seconds);

 private:
  bool told_full_ = false;
  std::optional<std::uint64_t> refused_;
  std::optional<std::uint64_t> told_at_;
};

}  // namespace oceanid::routing
