#include "routing/edge/element_writer.hpp"
#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/nft_elements.hpp"

#include <cerrno>
#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

namespace oceanid::routing {
namespace {

// Somebody who commits without pause (a proxy of services that starts) must not keep us out for
// good, nor be waited for without end.
constexpr int most_attempts = 20;

Result<std::uint32_t> generation_of(NetlinkSocket& socket) {
  Message ask(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN), 0);
  ask.extra<nfgenmsg>().version = NFNETLINK_V0;
  std::optional<std::uint32_t> number;
  auto asked = socket.request(ask, [&](const nlmsghdr& message) {
    number = Attributes::of(message, sizeof(nfgenmsg)).be32(NFTA_GEN_ID);
  });
  if (!asked) return std::unexpected(std::move(asked.error()).context("asking for the generation"));
  if (!number) return fail(Errc::io, "nftables did not say its generation");
  return *number;
}

}  // namespace

Result<ElementWriter> ElementWriter::open(Stamp stamp) {
  auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return ElementWriter(std::make_unique<Work>(std::move(*socket), std::move(stamp)));
}

awaitable<Result<void>> ElementWriter::apply(std::vector<ElementChange> changes,
                                             std::optional<std::uint64_t> expected) {
  if (!thread_) thread_ = std::make_unique<asio::thread_pool>(1);
  const auto run = [](Work& work, std::vector<ElementChange> given,
                      std::optional<std::uint64_t> stamp) -> awaitable<Result<void>> {
    co_return work.apply(given, stamp);
  };
  auto [failure, done] = co_await asio::co_spawn(
      thread_->get_executor(), run(*work_, std::move(changes), expected), as_result);
  if (failure) std::rethrow_exception(failure);
  co_return std::move(done);
}

Result<void> ElementWriter::Work::apply(const std::vector<ElementChange>& changes,
                                        std::optional<std::uint64_t> expected) {
  if (!expected) return commit(changes, std::nullopt);
  for (int attempt = 1;; ++attempt) {
    auto generation = generation_of(socket);
    if (!generation) return std::unexpected(std::move(generation.error()));
    auto now = stamp(socket);
    if (!now) return std::unexpected(std::move(now.error()));
    if (*now != *expected)
      return fail(Errc::closed, "our nft tables are no longer those whose elements were to change");
    auto done = commit(changes, *generation);
    if (done || done.error().os_error != ERESTART || attempt == most_attempts) return done;
  }
}

Result<void> ElementWriter::Work::commit(const std::vector<ElementChange>& changes,
                                         std::optional<std::uint32_t> generation) {
  auto batch = encode_elements(changes, generation, socket.next_sequence());
  if (!batch) return std::unexpected(std::move(batch.error()));
  if (batch->empty()) return {};
  return socket.batch(batch->bytes, batch->first_sequence, batch->last_sequence);
}

}  // namespace oceanid::routing
