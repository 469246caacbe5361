#include "tunnel/core/echo_askers.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr int missed = 3;
constexpr Duration least_silence = 600ms;
constexpr Duration told_for = 60s;  // after that the peer has gone
constexpr Duration longest_interval = 10s;

}  // namespace

void EchoAskers::heard(const SocketAddress& from, int socket, bool hears_us, TimePoint now) {
  Asker& asker = askers_[from.address];
  if (asker.socket >= 0) {
    const auto gap = std::min<Duration>(now - asker.last, longest_interval);
    asker.interval += (gap - asker.interval) / 8;
  }
  asker.from = from;
  asker.socket = socket;
  asker.last = now;
  asker.hears_us = hears_us;
}

void EchoAskers::forget_socket(int socket) {
  std::erase_if(askers_, [&](const auto& entry) { return entry.second.socket == socket; });
}

std::vector<EchoAskers::Silent> EchoAskers::silent(TimePoint now) const {
  std::vector<Silent> out;
  for (const auto& [address, asker] : askers_) {
    if (lost(asker, now) && now - asker.last <= told_for) out.push_back({asker.from, asker.socket});
  }
  return out;
}

// Who asked once or twice does not ask regularly.
bool EchoAskers::lost(const Asker& asker, TimePoint now) {
  return asker.interval != 0ns &&
         now - asker.last >= std::max<Duration>(least_silence, asker.interval * missed);
}

std::optional<EchoAskers::Heard> EchoAskers::last_heard(const IpAddress& peer,
                                                        TimePoint now) const {
  const auto found = askers_.find(peer);
  if (found == askers_.end()) return std::nullopt;
  return Heard{now - found->second.last, lost(found->second, now)};
}

std::optional<bool> EchoAskers::hears_us(const IpAddress& peer, TimePoint now) const {
  const auto found = askers_.find(peer);
  if (found == askers_.end() || now - found->second.last > told_for) return std::nullopt;
  return found->second.hears_us;
}

}  // namespace oceanid::tunnel
