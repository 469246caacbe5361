// netd: changes that go back by themselves (routing.confirm).
//
// A reload, or a start, that changes what we ask of the kernel is on probation: without `oceanid
// confirm` in time the configuration before it comes into force again, kernel and worker. What it
// goes back to is the last configuration that stood without a condition; a second change during a
// probation starts the time anew and does not move that point. Going back is an ordinary change of
// the kernel's state, in the order that keeps it closed between any two steps.
//
// Whatever ends netd meanwhile, the next start comes up with the configuration of before
// (config_memory.hpp). While the time runs `oceanid guard` keeps the closed state of before, too.

#include "gateway/admin/handlers.hpp"
#include "gateway/base/runtime/log.hpp"
#include "gateway/process/netd.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/secret_files.hpp"
#include "gateway/process/state_files.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;

std::string room_for(const Config& config) {
  return "make room below " + config.state_dir + ", then `oceanid confirm`";
}

double in_seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

// How long a change to `next` waits for its confirmation; zero: it does not.
std::chrono::milliseconds Netd::probation_of(const Config& next) const {
  const Config& good = former_ ? *former_->config : *loaded_.config;
  if (same_kernel_state(good, next)) return 0ms;
  return std::max(probation_time(good, next), probation_time(*loaded_.config, next));
}

// Before the kernel hears of it: from here on a crash ends in the configuration of before.
void Netd::expect(const std::string& record) {
  network_.keep_guard_as_it_is(true);
  if (auto kept = memory_.set_unconfirmed(record); !kept)
    log::warn("gateway",
              "a restart would try this change again, on probation, instead of coming up with the "
              "configuration of before",
              {{"error", kept.error().what}, {"remedy", room_for(*loaded_.config)}});
}

std::string Netd::begin_probation(LoadedConfig before, std::chrono::milliseconds patience) {
  // A change of the proxy's own business leaves the time as it runs.
  if (!former_ || !same_kernel_state(*before.config, *loaded_.config))
    confirm_by_ = std::chrono::steady_clock::now() + patience;
  if (!former_) former_ = std::move(before);
  gone_back_.clear();
  const std::string left = fmt::format("{:.0f} s", seconds_left());
  journal_.add("gateway",
               fmt::format("configuration {} goes back by itself in {} unless `oceanid confirm` "
                           "comes in time",
                           generation_, left),
               log::Level::warn);
  return fmt::format(", on probation: it goes back in {} unless `oceanid confirm` comes", left);
}

double Netd::seconds_left() const {
  return std::max(0.0, in_seconds(std::chrono::duration_cast<std::chrono::milliseconds>(
                           confirm_by_ - std::chrono::steady_clock::now())));
}

bool Netd::probation_is_over() const {
  return former_ && std::chrono::steady_clock::now() >= confirm_by_;
}

// What is in force stands without a condition.
void Netd::keep_as_good() {
  former_.reset();
  gone_back_.clear();
  network_.keep_guard_as_it_is(false);
  unkept_.clear();
  const auto kept = memory_.accept(to_record(loaded_));
  if (kept || !loaded_.config->routing) return;
  unkept_ = kept.error().what;
  log::warn("gateway", "the configuration in force could not be kept for a later roll-back",
            {{"error", unkept_}, {"remedy", room_for(*loaded_.config)}});
}

Result<std::string> Netd::confirm() {
  if (changing_ || starting_)
    return fail(Errc::already_exists, "a change is under way; ask again when it is done");
  if (!former_ && unkept_.empty())
    return fail(Errc::not_found,
                gone_back_.empty() ? "nothing waits for a confirmation" : gone_back_);
  keep_as_good();
  journal_.add("gateway", fmt::format("configuration {} is confirmed", generation_));
  if (!unkept_.empty())
    return fmt::format(
        "configuration {} is kept while this gateway runs, but the next start will ask for it "
        "again ({}): {}",
        generation_, unkept_, room_for(*loaded_.config));
  return fmt::format("configuration {} is kept", generation_);
}

// Neither a certificate that is gone nor a port that is taken keeps the kernel's state from going
// back: that is what the operator's way in depends on.
awaitable<void> Netd::roll_back() {
  changing_ = true;
  manager_.reloading();
  const auto given_up = generation_;
  log::error("gateway", "not confirmed in time: going back to the configuration before",
             {{"configuration", std::to_string(given_up)}});
  LoadedConfig former = *former_;
  if (auto possible = check_reloadable(*loaded_.config, *former.config, privileged_); !possible) {
    // Only a start can have changed these keys. The next life passes the file over; power that is
    // given up comes back with whoever starts us.
    log::warn("gateway", "going back needs a new start", {{"why", possible.error().what}});
    if (needs_privileges(*former.config) && !privileged_)
      exit_code_ = 1;
    else
      upgrade_ = true;
    co_await shut_down("going back to the configuration before");
    co_return;
  }
  if (auto opened = listeners_.open(wanted_listeners(*former.config, cores_)); !opened)
    log::error("gateway", "not every listener of before is back", {{"error", opened.error().what}});
  auto done = co_await network_.go_back(*former.config);
  changing_ = false;
  if (!done) {
    log::error("gateway", "going back has failed; trying again", {{"error", done.error().what}});
    co_return;  // the next tick finds it overdue
  }
  auto for_worker = worker_configuration(former, generation_ + 1);
  if (!for_worker)
    log::error("gateway", "the worker keeps its settings", {{"error", for_worker.error().what}});
  files_.watch(all_secret_files(*former.config));
  files_.watch(list_files(*former.config));
  in_force(std::move(former), for_worker ? std::optional(std::move(*for_worker)) : std::nullopt);
  former_.reset();
  unkept_.clear();
  network_.keep_guard_as_it_is(false);
  ++rollbacks_;
  gone_back_ = fmt::format(
      "configuration {} was not confirmed in time and has gone back; what was in force before is "
      "configuration {} now. The file still holds the change: `oceanid reload` tries it again",
      given_up, generation_);
  configuration_error_ = gone_back_;
  journal_.add("gateway", gone_back_);
  manager_.ready(snapshot().diagnosis);
}

}  // namespace oceanid::process
