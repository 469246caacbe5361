#include "gateway/base/runtime/log.hpp"
#include "gateway/process/privilege.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <sstream>
#include <type_traits>

#include <fmt/format.h>

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

struct CapFree {
  void operator()(cap_t state) const { cap_free(state); }
};
using CapState = std::unique_ptr<std::remove_pointer_t<cap_t>, CapFree>;

// The value of a line of /proc/self/status, for example "CapEff".
std::string status_line(std::string_view key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const auto begin = line.find_first_not_of(" \t", key.size() + 1);
    return begin == std::string::npos ? std::string() : line.substr(begin);
  }
  return {};
}

bool is_zero(std::string_view hex) {
  return !hex.empty() && std::ranges::all_of(hex, [](char c) { return c == '0'; });
}

}  // namespace

bool running_as_root() {
  return ::geteuid() == 0;
}

bool has_capability(cap_value_t capability) {
  const CapState now(cap_get_proc());
  cap_flag_value_t value = CAP_CLEAR;
  return now && cap_get_flag(now.get(), capability, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

Result<std::pair<Account, bool>> worker_account(const std::string& name) {
  for (const std::string& candidate : {name, std::string("nobody")}) {
    std::array<char, 16384> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwnam_r(candidate.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
        found == nullptr)
      continue;
    if (entry.pw_uid == 0)
      return fail(
          Errc::invalid_argument,
          fmt::format("proxy.user: the account \"{}\" is root; name an ordinary one", name));
    return std::pair(Account{candidate, entry.pw_uid, entry.pw_gid}, candidate != name);
  }
  return fail(
      Errc::not_found,
      fmt::format("proxy.user: neither the account \"{}\" nor \"nobody\" exists; create it: "
                  "useradd --system --no-create-home {}",
                  name, name));
}

Result<void> keep_capabilities(const std::vector<cap_value_t>& kept) {
  const CapState now(cap_get_proc());
  const CapState next(cap_init());
  if (!now || !next) return fail_errno("read the capabilities");
  std::vector<cap_value_t> held;
  for (const cap_value_t capability : kept) {
    cap_flag_value_t value = CAP_CLEAR;
    if (cap_get_flag(now.get(), capability, CAP_PERMITTED, &value) == 0 && value == CAP_SET)
      held.push_back(capability);
  }
  // The bounding set first: dropping from it takes CAP_SETPCAP, which the next step may give up.
  if (has_capability(CAP_SETPCAP)) {
    for (cap_value_t capability = 0; CAP_IS_SUPPORTED(capability); ++capability) {
      if (std::ranges::find(held, capability) == held.end() && cap_drop_bound(capability) != 0)
        return fail_errno("drop a capability from the bounding set");
    }
  }
  if (cap_reset_ambient() != 0 && errno != EINVAL) return fail_errno("clear ambient capabilities");
  const int count = static_cast<int>(held.size());
  if (count > 0 && (cap_set_flag(next.get(), CAP_PERMITTED, count, held.data(), CAP_SET) != 0 ||
                    cap_set_flag(next.get(), CAP_EFFECTIVE, count, held.data(), CAP_SET) != 0))
    return fail_errno("choose capabilities");
  if (cap_set_proc(next.get()) != 0) return fail_errno("give up capabilities");
  return {};
}

Result<void> forbid_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("set no_new_privs");
  return {};
}

void forbid_core_files() {
  constexpr rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || ::setrlimit(RLIMIT_CORE, &none) != 0)
    log::warn("gateway", "a core file of this process would hold its keys");
}

Result<void> become(const Account& account) {
  for (cap_value_t capability = 0; CAP_IS_SUPPORTED(capability); ++capability)
    if (cap_drop_bound(capability) != 0) return fail_errno("empty the bounding set");
  if (::setgroups(0, nullptr) != 0) return fail_errno("drop supplementary groups");
  if (::setresgid(account.gid, account.gid, account.gid) != 0)
    return fail_errno("change to group of " + account.name);
  if (::setresuid(account.uid, account.uid, account.uid) != 0)
    return fail_errno("change to account " + account.name);
  if (auto kept = keep_capabilities({}); !kept) return kept;
  return forbid_new_privileges();
}

Result<void> verify_unprivileged(bool started_as_root) {
  if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
    return fail(Errc::permission, "others of the worker's account could look into it");
  for (const auto* set : {"CapPrm", "CapEff", "CapInh", "CapAmb"})
    if (!is_zero(status_line(set)))
      return fail(Errc::permission, fmt::format("the worker still holds capabilities ({} is {})",
                                                set, status_line(set)));
  if (status_line("NoNewPrivs") != "1")
    return fail(Errc::permission, "the worker could still gain privileges (no_new_privs is off)");
  if (started_as_root && (::geteuid() == 0 || ::getuid() == 0))
    return fail(Errc::permission, "the worker still runs as root");
  if (started_as_root && !is_zero(status_line("CapBnd")))
    return fail(Errc::permission, "the worker's capability bounding set is not empty");
  return {};
}

}  // namespace oceanid::process
