#pragma once
// Keeps the time of the last WireGuard handshake over restarts, so that a machine that boots with
// an older clock (no battery, fake-hwclock after a power cut) says why its peers do not answer.
// It refuses nothing: tunnels that stand need no new handshake, a node that peers dial needs no
// right clock, and WireGuard dials again every 5 s (REKEY_TIMEOUT) for as long as echoes wait to be
// sent, so that the tunnel stands by itself within that of the clock being set. Fail-closed is what
// the rules are, whatever the clock says. Lives on netd's event loop.

#include "gateway/base/error.hpp"
#include "tunnel/core/clock_watch.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace oceanid::process {

class ClockGuard {
 public:
  using Wall = std::chrono::system_clock::time_point;
  explicit ClockGuard(const std::string& state_dir);

  // How far the clock went back, if it did; logs once what an earlier process knew better.
  std::optional<std::chrono::seconds> observe(Wall wall,
                                              std::chrono::steady_clock::time_point steady,
                                              std::optional<Wall> last_handshake);
  // Writes down what is newer than the file: at the end.
  void keep();

 private:
  std::string path_;
  tunnel::ClockWatch watch_;
  std::optional<Wall> kept_;    // in the file
  std::optional<Wall> newest_;  // as last seen
  bool compared_ = false;
  bool unkept_ = false;  // and said so
};

std::string last_handshake_file(const std::string& state_dir);
std::string clock_remedy(const std::string& file);

// not_found: none yet.
Result<ClockGuard::Wall> read_last_handshake(const std::string& state_dir);

}  // namespace oceanid::process
