#pragma once
// Carries out changes of set elements, on a thread of its own: the kernel does all of a transaction
// inside sendmsg(2), which takes it milliseconds for a single element (it waits until no packet is
// being judged by the former elements) and a good part of a second for 100,000. The event loop only
// waits for the result.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "routing/core/elements.hpp"
#include "routing/edge/netlink_socket.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/thread_pool.hpp>

namespace oceanid::routing {

class ElementWriter {
 public:
  // Asks the kernel for what must not have changed; called on the writer's thread with its socket.
  using Stamp = std::function<Result<std::uint64_t>(NetlinkSocket&)>;

  static Result<ElementWriter> open(Stamp stamp);

  // With `expected`, only while the stamp of our tables is this one (Errc::closed otherwise): the
  // stamp is read between the question for the generation and the commit that names it, and asked
  // for again when somebody else committed meanwhile. One call at a time.
  awaitable<Result<void>> apply(std::vector<ElementChange> changes,
                                std::optional<std::uint64_t> expected);
  std::uint32_t port_id() const { return work_->socket.port_id(); }

 private:
  struct Work {
    Work(NetlinkSocket netlink, Stamp asked)
        : socket(std::move(netlink)), stamp(std::move(asked)) {}
    Result<void> apply(const std::vector<ElementChange>& changes,
                       std::optional<std::uint64_t> expected);
    Result<void> commit(const std::vector<ElementChange>& changes,
                        std::optional<std::uint32_t> generation);
    NetlinkSocket socket;
    Stamp stamp;
  };
  explicit ElementWriter(std::unique_ptr<Work> work) : work_(std::move(work)) {}

  std::unique_ptr<Work> work_;
  std::unique_ptr<asio::thread_pool> thread_;  // from the first change on; joined before the work
};

}  // namespace oceanid::routing
