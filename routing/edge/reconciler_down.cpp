// Taking everything away again, and the memory of former sysctl values that it needs.

#include "gateway/base/runtime/log.hpp"
#include "routing/edge/reconciler.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr int most_passes = 8;
constexpr std::string_view forwarding6 = "net/ipv6/conf/all/forwarding";

bool is_forwarding(const std::string& path) {
  return path.ends_with("/forwarding") || path.ends_with("/ip_forward");
}

bool is_hearing_routers(const std::string& path) {
  return path.ends_with("/accept_ra");
}

struct Host {
  std::optional<IfName> forwarder;  // somebody besides us
  bool still_forwards6 = false;     // on that one's behalf
};

// None: the former value comes back.
std::optional<std::string> reason_to_keep(const std::string& path, const SavedSysctl& entry,
                                          const std::string& current, const Host& host) {
  if (current != entry.written) return "changed by somebody else since we wrote " + entry.written;
  if (is_forwarding(path) && entry.former == "0" && host.forwarder)
    return host.forwarder->str() + " needs forwarding";
  if (is_hearing_routers(path) && host.still_forwards6)
    return "without it a kernel that forwards hears no router";
  return std::nullopt;
}

// Switching forwarding off resets other values of the same devices, so it comes first.
std::vector<std::string> restore_order(const SavedSysctls& saved) {
  std::vector<std::string> out;
  for (const bool forwarding : {true, false})
    for (const auto& [path, values] : saved.entries)
      if (is_forwarding(path) == forwarding) out.push_back(path);
  return out;
}

}  // namespace

Result<void> Reconciler::remember_sysctls(const Changes& changes) {
  std::optional<SavedSysctls> saved;
  std::optional<SavedSysctls> before;
  for (const Change& change : changes.steps) {
    const auto* write = std::get_if<WriteSysctl>(&change);
    if (!write) continue;
    if (!saved) {
      auto loaded = files_.load_sysctls();
      if (!loaded) return std::unexpected(std::move(loaded.error()));
      saved = before = std::move(*loaded);
    }
    SavedSysctl& entry = saved->entries[write->path];
    // Still ours: what was there before us stays the value to go back to.
    if (entry.written != write->from) entry.former = write->from;
    entry.written = write->to;
  }
  // On disk before the first write: a crash in between restores nothing that was not changed.
  return saved == before ? Result<void>{} : files_.save_sysctls(*saved);
}

// A damaged memory of former values is worth less than the kill switch: it is set aside, and the
// state is applied all the same.
std::optional<SavedSysctls> Reconciler::recall_sysctls(std::vector<std::string>& warnings) const {
  auto saved = files_.load_sysctls();
  if (!saved && saved.error().code == Errc::protocol) {
    warnings.push_back(saved.error().what);
    if (auto moved = files_.set_sysctls_aside(); !moved) warnings.push_back(moved.error().what);
    saved = files_.load_sysctls();
  }
  return saved ? std::optional(std::move(*saved)) : std::nullopt;
}

std::size_t Reconciler::restore_sysctls(const NetworkState& keep, std::vector<std::string>& kept) {
  auto saved = files_.load_sysctls();
  if (!saved) {
    kept.push_back(saved.error().what);
    return 0;
  }
  const auto is_wanted = [&](const std::string& path) {
    return std::ranges::find(keep.sysctls, path, &Sysctl::path) != keep.sysctls.end();
  };
  // An uplink that has lost its default route hears of a new one only with this.
  const bool hears_routers = is_wanted(std::string(forwarding6));
  const auto is_kept = [&](const auto& entry) {
    return is_wanted(entry.first) || (hears_routers && is_hearing_routers(entry.first));
  };
  if (std::ranges::all_of(saved->entries, is_kept)) return 0;
  const auto facts = kernel_.facts();
  Host host{.forwarder = facts ? other_forwarder(*facts) : std::nullopt};
  std::size_t restored = 0;
  const std::size_t before = saved->entries.size();
  for (const std::string& path : restore_order(*saved)) {
    const SavedSysctl entry = saved->entries[path];
    if (is_kept(std::pair(path, entry))) continue;
    saved->entries.erase(path);
    const auto current = kernel_.read_sysctl(path);
    if (!current) continue;  // its device is gone
    const std::string now = sysctl_assignment(path, *current);
    if (const auto reason = reason_to_keep(path, entry, *current, host)) {
      kept.push_back(now + ": " + *reason);
      host.still_forwards6 = host.still_forwards6 || (path == forwarding6 && *current == "1");
    } else if (auto written = kernel_.write_sysctl(path, entry.former); !written) {
      kept.push_back(fmt::format("{}: {}; run: sysctl -w {}", now, written.error().what,
                                 sysctl_assignment(path, entry.former)));
      saved->entries[path] = entry;
    } else {
      ++restored;
    }
  }
  if (saved->entries.size() != before)
    if (auto written = files_.save_sysctls(*saved); !written)
      log::warn("routing", "saved sysctl values not updated", {{"error", written.error().what}});
  return restored;
}

awaitable<Result<DownReport>> Reconciler::down() {
  const Lock guard = co_await lock();
  const NetworkState nothing;
  standing_.reset();
  Run run;
  std::optional<Error> first_error;
  for (int pass = 0; pass < most_passes; ++pass) {
    auto actual = read(nothing);
    if (!actual) co_return std::unexpected(std::move(actual.error()));
    const Changes changes = diff(nothing, *actual);
    if (changes.empty()) break;
    first_error.reset();
    // One thing that cannot be removed keeps nothing else in place.
    for (const Change& change : changes.steps) {
      auto done = co_await step(change, run);
      if (!done && !first_error) first_error = std::move(done.error());
    }
  }
  DownReport report;
  report.changes = run.done.size() + restore_sysctls(nothing, report.kept);
  if (first_error) co_return std::unexpected(std::move(*first_error));
  saved_text_.reset();
  if (auto removed = files_.save_nft({}); !removed)
    co_return std::unexpected(std::move(removed.error()));
  co_return report;
}

}  // namespace oceanid::routing
