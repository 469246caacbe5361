#pragma once
// How many tunnels are open, in all and by client, for the limits. One ledger serves all event
// loops of a process (clients are spread over them by the kernel), so it has the one lock of this
// folder: taken twice in a tunnel's life.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace oceanid::proxy {

struct SlotLimits {
  std::uint32_t total = 0;  // 0: no limit
  std::uint32_t per_client = 0;
};

class TunnelLedger : public std::enable_shared_from_this<TunnelLedger> {
 public:
  // A place in the ledger, given back by its destructor.
  class Slot {
   public:
    Slot() = default;
    Slot(std::shared_ptr<TunnelLedger> ledger, std::string group, IpAddress client)
        : ledger_(std::move(ledger)), group_(std::move(group)), client_(client) {}
    Slot(Slot&& other) noexcept = default;
    Slot& operator=(Slot&& other) noexcept;
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() { release(); }

   private:
    void release();
    std::shared_ptr<TunnelLedger> ledger_;
    std::string group_;
    IpAddress client_;
  };

  // `group`: a forward's name, or empty for the proxy. Errors: tunnel_limit, client_limit.
  std::expected<Slot, Reason> take(const std::string& group, const IpAddress& client,
                                   SlotLimits limits);
  std::uint64_t open(const std::string& group) const;

 private:
  struct Group {
    std::uint64_t open = 0;
    std::map<IpAddress, std::uint32_t> clients;
  };
  void release(const std::string& group, const IpAddress& client);

  mutable std::mutex mutex_;
  std::map<std::string, Group> groups_;
};

}  // namespace oceanid::proxy
