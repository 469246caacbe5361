#pragma once
// Which power each of our processes keeps. netd gives up everything but
// NET_ADMIN and NET_RAW once its sockets are open; the worker runs without any capability, cannot
// gain one again, and refuses to start when that is not so. Linux only: capabilities(7), prctl(2),
// seccomp(2).

#include "gateway/base/error.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/capability.h>
#include <sys/types.h>

namespace oceanid::process {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

bool running_as_root();
bool has_capability(cap_value_t capability);

// The worker's account: `name`, or nobody when there is no such account (the second value says so).
Result<std::pair<Account, bool>> worker_account(const std::string& name);

// Keeps exactly `kept` (of those that we hold) in every capability set of this process, the
// bounding set included, so that a child cannot regain more by executing a program as root.
Result<void> keep_capabilities(const std::vector<cap_value_t>& kept);

// Becomes `account` with no capability, no supplementary group, no_new_privs. Cannot be undone.
Result<void> become(const Account& account);
Result<void> forbid_new_privileges();

// No core file of this process and of those it starts: their memory holds keys. Nor may another
// process of its account look into it with ptrace(2), such as a second one that runs as `nobody`.
// The flag is of this process alone and is set again by execve(2); children that execute a program
// inherit the limit, which a collector in core_pattern is told and the kernel does not enforce for
// it (core(5)).
void forbid_core_files();

// The worker's own proof: no capability in any set, no_new_privs, not dumpable, and another account
// than root when netd was root.
Result<void> verify_unprivileged(bool started_as_root);

// Allow-list of system calls for processes that parse strangers' bytes; anything else fails with
// EPERM. Applies to all threads started later. A process that is given all its sockets needs no
// calls that make or connect one.
enum class SystemCalls : std::uint8_t { with_new_sockets, without_new_sockets };
Result<void> restrict_system_calls(SystemCalls which = SystemCalls::with_new_sockets);

}  // namespace oceanid::process
