#include "routing/edge/reconciler.hpp"

#include "gateway/base/runtime/log.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

// Writing one sysctl can change another, and deleting a rule by its description can hit a more
// specific one of the same preference: look again until nothing is left to do.
constexpr int most_passes = 4;

constexpr std::size_t most_kept_elements = 2048;  // of one set, in applied.nft

bool deserves_another_look(const Changes& changes) {
  return std::ranges::any_of(changes.steps, [](const Change& change) {
    const auto* netlink = std::get_if<NetlinkChange>(&change);
    return std::holds_alternative<WriteSysctl>(change) ||
           (netlink && std::holds_alternative<DeleteRule>(*netlink));
  });
}

bool is_shared(std::uint32_t table) {
  constexpr std::uint32_t default_table = 253;  // then main and local
  return table == 0 || (table >= default_table && table <= default_table + 2);
}

bool is_device_lost(const Error& error) {
  return error.os_error == ENODEV || error.os_error == ENETDOWN;
}

// IPv6 is switched off on the device (EACCES), or its MTU is below 1280 (EINVAL for an address).
bool is_ipv6_refused(const NetlinkChange& change, const Error& error) {
  if (const auto* added = std::get_if<AddAddress>(&change))
    return !added->address.address.is_v4() &&
           (error.os_error == EACCES || error.os_error == EINVAL);
  const auto* added = std::get_if<AddRoute>(&change);
  const auto* replaced = std::get_if<ReplaceRoute>(&change);
  const Route* route = added ? &added->route : replaced ? &replaced->to : nullptr;
  return route && route->device && route->family == Family::v6 && error.os_error == EACCES;
}

void append_unique(std::vector<std::string>& out, std::vector<std::string> more) {
  for (std::string& text : more)
    if (std::ranges::find(out, text) == out.end()) out.push_back(std::move(text));
}

}  // namespace

Reconciler::Reconciler(const asio::any_io_executor& executor, Kernel& kernel, std::string state_dir)
    : turn_(executor), kernel_(kernel), files_(std::move(state_dir)) {
  turn_.expires_at(asio::steady_timer::time_point::max());
}

awaitable<Reconciler::Lock> Reconciler::lock() {
  while (held_) {
    auto [ec] = co_await turn_.async_wait(as_result);
    static_cast<void>(ec);  // being cancelled is how the next one is woken
  }
  held_ = true;
  co_return Lock(this);
}

Result<Actual> Reconciler::read(const NetworkState& desired) {
  auto actual = kernel_.read_actual();
  if (!actual) return actual;
  if (actual->nft.known && !actual->nft.any()) {
    actual->nft_tables.emplace();
  } else if (nft_tables_ && !nft_touched_ &&
             (!actual->nft.known || actual->nft.stamp == nft_stamp_)) {
    actual->nft_tables = nft_tables_;
  }
  if (actual->nft.known && !actual->nft.offload)
    actual->offload.emplace();
  else if (!nft_touched_ && !offload_stale_ &&
           (!actual->nft.known || actual->nft.offload_stamp == offload_stamp_))
    actual->offload = offload_;
  std::set<std::uint32_t> tables;
  for (const Route& route : desired.routes)
    if (!is_shared(route.table)) tables.insert(route.table);
  auto foreign = kernel_.foreign_routes(tables);
  if (!foreign) return std::unexpected(std::move(foreign.error()));
  std::ranges::move(*foreign, std::back_inserter(actual->routes));
  for (const Sysctl& sysctl : desired.sysctls) {
    auto value = kernel_.read_sysctl(sysctl.path);
    if (value)
      actual->sysctls[sysctl.path] = std::move(*value);
    else if (value.error().code != Errc::not_found)
      return std::unexpected(std::move(value.error()));
  }
  return actual;
}

awaitable<Result<ApplyReport>> Reconciler::apply(NetworkState wanted) {
  Run run;
  run.desired = std::move(wanted);
  NetworkState& desired = run.desired;
  const Listed listed(runs_, &run);
  const Lock guard = co_await lock();
  run.under_way = true;
  const auto begin = std::chrono::steady_clock::now();
  const auto saved = recall_sysctls(run.report.warnings);
  if (desired.offload == offload_refused_) desired.offload.clear();
  if (desired.offload.empty() && offload_refused_.empty()) offload_error_.clear();
  auto done = co_await converge(run);
  if (!done) {
    const std::string rest = co_await roll_back(run);
    // What skipped the rules in the meantime was decided by rules that are no more.
    if (auto now = kernel_.read_actual(); !run.done.empty() && now && now->nft.offload)
      static_cast<void>(co_await write_offload({}));
    if (saved)
      if (auto restored = files_.save_sysctls(*saved); !restored)
        log::warn("routing", "saved sysctl values not updated", {{"error", restored.error().what}});
    Error error = std::move(done.error());
    error.what += rest.empty() ? "; nothing was changed" : "; not undone: " + rest;
    co_return std::unexpected(std::move(error));
  }
  standing_ = std::move(run.standing);
  run.report.changes = run.done.size() + restore_sysctls(desired, run.report.warnings);
  run.report.took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  co_return std::move(run.report);
}

awaitable<Result<void>> Reconciler::converge(Run& run) {
  const NetworkState& desired = run.desired;
  // A configuration that was read again brings equal lists: with its own ones held here, the next
  // comparison sees one object, and memory holds each list once.
  if (nft_tables_ && *nft_tables_ == desired.nft) nft_tables_ = desired.nft;
  bool first = true;
  for (int pass = 0; pass < most_passes;) {
    run.overtaken = false;
    auto actual = read(desired);
    if (!actual) co_return std::unexpected(std::move(actual.error()));
    Changes changes = diff(desired, *actual);
    if (std::exchange(first, false) && standing_) {
      const bool touched = nft_touched_ || (nft_tables_ && actual->nft_tables != nft_tables_);
      run.report.drift = find_drift(*standing_, desired, *actual, changes, touched);
    }
    // A required sysctl that failed ended the run; one that is not required must not fail again.
    if (pass > 0)
      std::erase_if(changes.steps, [&](const Change& change) {
        const auto* sysctl = std::get_if<WriteSysctl>(&change);
        return sysctl && !sysctl->required;
      });
    append_unique(run.report.skipped, std::move(changes.skipped));
    // A full disk must neither open the kill switch nor keep a tunnel down.
    if (auto remembered = remember_sysctls(changes); !remembered)
      append_unique(run.report.warnings,
                    {remembered.error().what +
                     ": `oceanid down` cannot give sysctls their former values back"});
    if (auto done = co_await carry_out(changes, run); !done) co_return done;
    run.standing = standing_after(desired, *actual, run.refused);
    if (run.overtaken) continue;  // the rest is looked for anew, with the exit of now
    if (!deserves_another_look(changes)) break;
    ++pass;
  }
  co_return Result<void>{};
}

// Up to the first step during which the exit was switched: the others may have the one before in
// them.
awaitable<Result<void>> Reconciler::carry_out(const Changes& changes, Run& run) {
  for (std::span<const Change> left = changes.steps; !left.empty();) {
    const std::size_t count = together(left);
    auto done =
        count > 1 ? netlink_steps(left.first(count), run) : co_await step(left.front(), run);
    if (!done || run.overtaken) co_return done;
    left = left.subspan(count);
  }
  co_return Result<void>{};
}

awaitable<Result<void>> Reconciler::step(const Change& change, Run& run) {
  if (std::holds_alternative<NetlinkChange>(change))
    co_return netlink_steps(std::span(&change, 1), run);
  if (const auto* sysctl = std::get_if<WriteSysctl>(&change)) co_return sysctl_step(*sysctl, run);
  if (const auto* elements = std::get_if<ChangeElements>(&change))
    co_return co_await change_elements(*elements, run);
  if (const auto* offload = std::get_if<ReplaceOffload>(&change))
    co_return co_await replace_offload(*offload, run);
  const auto& nft = std::get<ReplaceNft>(change);
  auto done = co_await replace_nft(nft.to);
  if (!done) co_return done;
  run.report.nft = true;
  run.done.push_back(change);
  co_return Result<void>{};
}

// One message to the kernel for all of them. What it did behind a refused one is undone, too.
Result<void> Reconciler::netlink_steps(std::span<const Change> changes, Run& run) {
  std::vector<NetlinkChange> asked;
  for (const Change& change : changes)
    asked.push_back(std::get<NetlinkChange>(change));
  auto answers = kernel_.apply_all(asked);
  Result<void> out = {};
  for (std::size_t i = 0; i < asked.size(); ++i)
    if (auto noted = note_netlink(asked[i], std::move(answers[i]), run); !noted && out)
      out = std::move(noted);
  return out;
}

Result<void> Reconciler::note_netlink(const NetlinkChange& change, Result<void> done, Run& run) {
  if (done) {
    run.done.emplace_back(change);
    return {};
  }
  if (!is_device_lost(done.error()) && !is_ipv6_refused(change, done.error())) return done;
  append_unique(run.report.skipped, {done.error().what});
  run.refused.emplace_back(change);
  // The new route cannot stand; the old one must not carry traffic in its place.
  if (const auto* replaced = std::get_if<ReplaceRoute>(&change)) {
    const NetlinkChange former = DeleteRoute{replaced->from};
    return note_netlink(former, kernel_.apply(former), run);
  }
  return {};
}

Result<void> Reconciler::sysctl_step(const WriteSysctl& change, Run& run) {
  auto done = kernel_.write_sysctl(change.path, change.to);
  if (done) {
    run.done.emplace_back(change);
    return {};
  }
  if (done.error().code == Errc::not_found) {
    run.report.skipped.push_back(done.error().what);
    run.refused.emplace_back(change);
    return {};
  }
  Error& error = done.error();
  error.what = fmt::format("{} is {} and cannot be written ({}); run: sysctl -w {}",
                           sysctl_assignment(change.path, change.to), change.from, error.what,
                           sysctl_assignment(change.path, change.to));
  if (change.required) return done;
  run.refused.emplace_back(change);
  append_unique(run.report.warnings, {std::move(error.what)});
  return {};
}

// Elements that are not as our copy says (somebody else's hand) are refused by the kernel as a
// whole; the tables are made anew then.
awaitable<Result<void>> Reconciler::change_elements(const ChangeElements& change, Run& run) {
  auto done = co_await kernel_.apply_elements(changes_of(change.sets), nft_stamp_);
  if (done) {
    keep_tables(change.to);
    run.done.emplace_back(change);
    co_return done;
  }
  log::warn("routing", "set elements could not be changed one by one; the tables are made anew",
            {{"error", done.error().what}});
  nft_tables_.reset();
  done = co_await replace_nft(change.to);
  if (!done) co_return done;
  run.report.nft = true;
  run.done.emplace_back(ReplaceNft{change.from, change.to});
  co_return done;
}

// Without it every packet meets the rule set, which is well. Left as it was, though, it would hold
// connections that were decided before this change.
awaitable<Result<void>> Reconciler::replace_offload(const ReplaceOffload& change, Run& run) {
  auto done = co_await write_offload(change.to);
  if (!done && !change.to.empty()) {
    offload_refused_ = change.to;
    offload_error_ = done.error().what;
    run.refused.emplace_back(change);
    co_return co_await write_offload({});
  }
  if (!done) co_return done;
  if (!change.to.empty()) offload_error_.clear();
  run.report.nft = true;
  run.done.emplace_back(change);
  co_return done;
}

awaitable<Result<void>> Reconciler::write_offload(std::string text) {
  offload_.reset();  // unknown until the child has ended well
  offload_stale_ = false;
  std::string batch = text;
  if (batch.empty()) batch = fmt::format("table inet {0}\ndelete table inet {0}\n", offload_table);
  auto done = co_await kernel_.run_nft(std::move(batch));
  if (!done) co_return done;
  auto after = kernel_.read_actual();
  if (!after) co_return std::unexpected(std::move(after.error()));
  offload_stamp_ = after->nft.offload_stamp;
  offload_ = std::move(text);
  co_return done;
}

// The file is for `plan`; large sets are not worth a write of megabytes for every element.
void Reconciler::keep_tables(NftTables tables) {
  std::string text = shortened_text_of(tables, most_kept_elements);
  nft_tables_ = std::move(tables);
  if (text == saved_text_) return;
  if (auto saved = files_.save_nft(text); !saved)
    log::warn("routing", "nft text not saved; `plan` will not show its difference",
              {{"error", saved.error().what}});
  else
    saved_text_ = std::move(text);
}

awaitable<Result<void>> Reconciler::replace_nft(NftTables wanted) {
  auto before = kernel_.read_actual();
  if (!before) co_return std::unexpected(std::move(before.error()));
  const NftActual& tables = before->nft;
  std::string batch;
  const auto drop_unwanted = [&](bool present, std::string_view table) {
    if (present && !creates_table(wanted.text, table))
      batch += fmt::format("delete table {}\n", table);
  };
  drop_unwanted(tables.inet, "inet oceanid");
  drop_unwanted(tables.ip_nat, "ip oceanid_nat");
  drop_unwanted(tables.ip6_nat, "ip6 oceanid_nat");
  batch += text_of(wanted);
  if (batch.empty()) co_return Result<void>{};
  nft_tables_.reset();  // unknown until the child has ended well
  const std::uint64_t touches = nft_touches_;
  auto done = co_await kernel_.run_nft(std::move(batch));
  if (!done) co_return done;
  auto after = kernel_.read_actual();
  if (!after) co_return std::unexpected(std::move(after.error()));
  nft_stamp_ = after->nft.stamp;
  // Who wrote meanwhile may have done so after us; once more is cheap.
  if (touches == nft_touches_) nft_touched_ = false;
  keep_tables(std::move(wanted));
  co_return Result<void>{};
}

awaitable<std::string> Reconciler::roll_back(const Run& run) {
  std::string rest;
  Run undo;
  for (auto change = run.done.rbegin(); change != run.done.rend(); ++change) {
    if (was_switched(*change, run)) continue;  // the exit that was left must not come back
    const auto reverse = inverse(*change);
    if (!reverse) {
      rest += (rest.empty() ? "" : "; ") + describe(*change);
      continue;
    }
    auto done = co_await step(*reverse, undo);
    if (!done) rest += (rest.empty() ? "" : "; ") + done.error().what;
  }
  co_return rest;
}

awaitable<Result<std::string>> Reconciler::plan(NetworkState desired) {
  const Lock guard = co_await lock();
  auto actual = read(desired);
  if (!actual) co_return std::unexpected(std::move(actual.error()));
  // Another process applied it: its file says what, as long as the tables are there.
  std::string unknown;
  if (!actual->nft_tables)
    if (auto text = files_.load_nft()) {
      ReadTables kept = read_shortened(*text);
      for (const std::string& name : kept.left_out) {
        const auto wanted = std::ranges::find(desired.nft.sets, name, &NamedSet::name);
        if (wanted == desired.nft.sets.end()) continue;
        kept.tables.sets.push_back(*wanted);
        unknown += fmt::format("elements of {}: {} wanted; those in force are not compared\n", name,
                               wanted->prefixes.size());
      }
      std::ranges::sort(kept.tables.sets, {}, &NamedSet::name);
      actual->nft_tables = std::move(kept.tables);
    }
  // Its text is kept nowhere; it is not compared, and made anew with anything else.
  if (!actual->offload && actual->nft.offload) actual->offload = desired.offload;
  co_return describe(diff(desired, *actual)) + unknown;
}

void Reconciler::distrust_nft() {
  nft_touched_ = true;
  ++nft_touches_;
}

Result<void> Reconciler::save_last_good(const NetworkState& state) const {
  return files_.save_last_good(state);
}

Result<NetworkState> Reconciler::load_last_good() const {
  return files_.load_last_good();
}

}  // namespace oceanid::routing
