// netd: from a changed file to a configuration in force.

#include "gateway/admin/handlers.hpp"
#include "gateway/base/runtime/log.hpp"
#include "gateway/process/logging.hpp"
#include "gateway/process/netd.hpp"
#include "gateway/process/secret_files.hpp"
#include "gateway/process/state_files.hpp"

#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto look_again = 50ms;

}  // namespace

// One change of the configuration or the kernel at a time; a start under way is waited for, so that
// no SIGHUP is lost, and so is a reload that nobody asked for. On success the caller resets
// changing_.
awaitable<Result<void>> Netd::begin_change() {
  while ((starting_ || following_) && !stopping_)
    co_await sleep_for(look_again);
  if (changing_ || stopping_)
    co_return fail(Errc::already_exists, "another change, or the end, is under way");
  changing_ = true;
  co_return Result<void>();
}

awaitable<Result<std::string>> Netd::reload(
    Cause cause, std::optional<routing::ControlConnection> operator_session) {
  if (auto begun = co_await begin_change(); !begun)
    co_return std::unexpected(std::move(begun.error()));
  following_ = cause != Cause::command;
  manager_.reloading();
  files_.forget_all();
  files_.watch({loaded_.path});
  if (loaded_.config) files_.watch(list_files(*loaded_.config));  // before they are read
  LoadedConfig fresh = load_config(loaded_.path);
  // A new certificate is no word about a file that has been passed over.
  const bool passed_over = cause == Cause::file && !former_ &&
                           to_record(fresh) != to_record(loaded_) &&
                           to_record(fresh) == memory_.unconfirmed();
  if (passed_over) fresh = loaded_;
  if (fresh.config) {
    files_.watch(all_secret_files(*fresh.config));
    files_.watch(list_files(*fresh.config));
  }
  Result<void> done = {};
  std::chrono::milliseconds patience{};
  const std::string unconfirmed_before = memory_.unconfirmed();
  LoadedConfig before = loaded_;
  if (!fresh.config) {
    done = fail(Errc::invalid_argument, all_problems(fresh));
  } else {
    patience = probation_of(*fresh.config);
    if (patience > 0ms) expect(to_record(fresh));
    done = co_await take_into_use(std::move(fresh), operator_session);
  }
  changing_ = false;
  following_ = false;
  if (!done) {
    if (memory_.unconfirmed() != unconfirmed_before) expect(unconfirmed_before);
    network_.keep_guard_as_it_is(former_.has_value());
    listeners_.retain(wanted_listeners(*loaded_.config, cores_));
    files_.watch(all_secret_files(*loaded_.config));
    configuration_error_ = done.error().what;
    log::error("gateway", "reload refused; what runs goes on", {{"error", configuration_error_}});
    journal_.add("gateway", "a reload was refused; the former configuration stays in force");
    manager_.ready(snapshot().diagnosis);
    co_return std::unexpected(std::move(done.error()).context("refused, what runs goes on"));
  }
  if (!passed_over) configuration_error_.clear();
  journal_.add("gateway", fmt::format("configuration {} is in force", generation_));
  std::string text = fmt::format("configuration {} is in force", generation_);
  if (passed_over) co_return text;
  if (patience > 0ms)
    text += begin_probation(std::move(before), patience);
  else
    keep_as_good();
  co_return text;
}

// Everything before the kernel's state can be refused, and changes nothing then.
awaitable<Result<void>> Netd::take_into_use(
    LoadedConfig fresh, std::optional<routing::ControlConnection> operator_session) {
  auto done = check_reloadable(*loaded_.config, *fresh.config, privileged_);
  if (done) done = network_.admits(*fresh.config, operator_session);
  if (done) done = listeners_.open(wanted_listeners(*fresh.config, cores_));
  if (!done) co_return done;
  auto for_worker = worker_configuration(fresh, generation_ + 1);
  if (!for_worker) co_return std::unexpected(std::move(for_worker.error()));
  done = co_await worker_.check(*for_worker);
  if (done) done = co_await network_.reconfigure(*fresh.config);
  if (done) in_force(std::move(fresh), std::move(*for_worker));
  co_return done;
}

// What the worker and the others hear once the kernel's state stands.
void Netd::in_force(LoadedConfig fresh, std::optional<WorkerConfiguration> for_worker) {
  loaded_ = std::move(fresh);
  ++generation_;
  configure_log(loaded_.config->log, "netd");
  if (for_worker) {
    // Tunnels may have brought some.
    for_worker->message.local_addresses = network_.local_addresses();
    worker_.reconfigure(std::move(*for_worker));
  }
  drop_listeners();
  worker_.send_exits(network_.exits());
  worker_.request_names(network_.endpoint_names(), network_.names_in_doubt());
  store_listeners();
}

awaitable<void> Netd::reload_unasked(Cause cause) {
  const std::string why = cause == Cause::signal ? "SIGHUP" : "a changed file";
  log::info("gateway", "reading the configuration again", {{"cause", why}});
  auto done = co_await reload(cause);
  if (!done && done.error().code == Errc::already_exists)
    log::warn("gateway", why + " not followed", {{"why", done.error().what}});
  if (!done) co_return;
  if (const std::string forbidden = co_await forbidden_now(false); !forbidden.empty())
    log::warn("gateway", "the new configuration forbids open tunnels", {{"which", forbidden}});
}

}  // namespace oceanid::process
