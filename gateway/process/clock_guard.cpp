#include "gateway/process/clock_guard.hpp"

#include "gateway/base/json_text.hpp"
#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"

#include <utility>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;

// A busy tunnel makes a handshake every two minutes, and each write waits for the disk. A clock
// that is wrong by less than this after a power cut is not noticed.
constexpr auto write_after = 10min;
constexpr std::size_t longest_file = 64;

std::string utc(ClockGuard::Wall moment) {
  return format_utc(
      std::chrono::floor<std::chrono::milliseconds>(moment.time_since_epoch()).count());
}

}  // namespace

std::string clock_remedy(const std::string& file) {
  return "set the clock; if it is right, the one before was wrong: reload the peers once without "
         "this node, and remove " +
         file;
}

std::string last_handshake_file(const std::string& state_dir) {
  return state_dir + "/last-handshake";
}

Result<ClockGuard::Wall> read_last_handshake(const std::string& state_dir) {
  const std::string path = last_handshake_file(state_dir);
  auto text = read_small_file(path, longest_file);
  if (!text) return std::unexpected(std::move(text.error()));
  const auto moment = tunnel::decode_moment(*text);
  if (!moment) return fail(Errc::invalid_argument, path + " is not a time in seconds since 1970");
  return *moment;
}

ClockGuard::ClockGuard(const std::string& state_dir) : path_(last_handshake_file(state_dir)) {
  const auto kept = read_last_handshake(state_dir);
  if (kept) {
    kept_ = newest_ = *kept;
    watch_.remember(*kept);
  } else if (kept.error().code != Errc::not_found) {
    log::warn("tunnel", "the time of the last handshake is not known, ignoring",
              {{"error", kept.error().what}});
  }
}

std::optional<std::chrono::seconds> ClockGuard::observe(
    Wall wall, std::chrono::steady_clock::time_point steady, std::optional<Wall> last_handshake) {
  const auto behind = watch_.observe(wall, steady);
  if (!std::exchange(compared_, true) && behind)
    log::warn("tunnel",
              "the clock is behind the last WireGuard handshake of this node: peers refuse new "
              "ones until it has passed it",
              {{"behind_seconds", std::to_string(behind->count())},
               {"last_handshake", utc(*kept_)},
               {"remedy", clock_remedy(path_)}});
  if (last_handshake && (!newest_ || *last_handshake > *newest_)) newest_ = last_handshake;
  if (newest_ && (!kept_ || *newest_ - *kept_ >= write_after)) keep();
  return behind;
}

void ClockGuard::keep() {
  if (!newest_ || (kept_ && *newest_ <= *kept_)) return;
  const auto written = write_file_atomically(path_, tunnel::encode_moment(*newest_), 0600);
  if (written)
    kept_ = newest_;
  else if (!std::exchange(unkept_, true))
    log::warn("tunnel", "the time of the last handshake cannot be kept, ignoring",
              {{"error", written.error().what}});
}

}  // namespace oceanid::process
