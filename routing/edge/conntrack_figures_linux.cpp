#include "routing/edge/conntrack_figures.hpp"

#include <fstream>
#include <iterator>
#include <string>

namespace oceanid::routing {

std::optional<ConntrackFigures> read_conntrack_figures() {
  ConntrackFigures out;
  std::ifstream entries("/proc/sys/net/netfilter/nf_conntrack_count");
  std::ifstream limit("/proc/sys/net/netfilter/nf_conntrack_max");
  if (!(entries >> out.entries) || !(limit >> out.limit)) return std::nullopt;
  std::ifstream stat("/proc/net/stat/nf_conntrack");
  const std::string text{std::istreambuf_iterator<char>(stat), {}};
  if (const auto refused = parse_conntrack_stat(text)) {
    out.insert_failed = refused->insert_failed;
    out.dropped = refused->dropped;
  }
  return out;
}

}  // namespace oceanid::routing
