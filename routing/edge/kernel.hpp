#pragma once
// The kernel's network configuration behind a narrow interface, so that the reconciler is tested
// with a fake that keeps state (tests/fakes/fake_kernel.hpp). Everything but run_nft and
// apply_elements is synchronous and short (one netlink round trip, tens of microseconds); all of it
// belongs to one thread.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "routing/core/diff.hpp"
#include "routing/core/elements.hpp"
#include "routing/core/facts.hpp"

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace oceanid::routing {

class Kernel {
 public:
  Kernel() = default;
  virtual ~Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // Rules and routes of protocol 131, all links, which of our nft tables exist. Leaves nft_tables
  // and sysctls empty.
  virtual Result<Actual> read_actual() = 0;
  // Routes of other protocols in these tables, which are ours alone: what others put there.
  virtual Result<std::vector<Route>> foreign_routes(const std::set<std::uint32_t>& tables) = 0;
  // os_error tells: ENODEV and ENETDOWN mean that the device went away meanwhile.
  virtual Result<void> apply(const NetlinkChange& change) = 0;
  // One answer for each, in their order; a refused one does not keep the kernel from the others.
  virtual std::vector<Result<void>> apply_all(std::span<const NetlinkChange> changes) = 0;
  virtual Result<HostFacts> facts() = 0;
  // `path` is below /proc/sys; not_found when it (or its device) does not exist.
  virtual Result<std::string> read_sysctl(const std::string& path) = 0;
  virtual Result<void> write_sysctl(const std::string& path, const std::string& value) = 0;
  // Checks `text` against the kernel, then commits it in one transaction. The error carries nft's
  // words.
  virtual awaitable<Result<void>> run_nft(std::string text) = 0;
  // Adds and removes elements of named sets of `table inet oceanid`, all of them in one transaction
  // and without the nft program. Adding what is there and removing what is not: see
  // nft_elements.hpp. With `expected` only as long as our tables carry this NftActual::stamp;
  // Errc::closed when they do not: they were replaced, or somebody else changed them.
  virtual awaitable<Result<void>> apply_elements(std::vector<ElementChange> changes,
                                                 std::optional<std::uint64_t> expected = {}) = 0;
};

}  // namespace oceanid::routing
