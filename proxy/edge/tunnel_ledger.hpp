#pragma once
// How many tunnels are open, in all, by client and by role, and how often roles ask: for the
// limits. One ledger serves all event loops of a process (clients are spread over them by the
// kernel), so it has a lock: taken a few times in a tunnel's life, never per byte.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"
#include "proxy/core/failure_limiter.hpp"
#include "proxy/core/settings.hpp"
#include "proxy/core/token_bucket.hpp"
#include "proxy/edge/throttle.hpp"

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
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

    // Null: the role's bandwidth is not limited.
    const std::shared_ptr<Throttle>& throttle() const { return throttle_; }

   private:
    friend class TunnelLedger;
    void release();
    std::shared_ptr<TunnelLedger> ledger_;
    std::string group_;
    IpAddress client_;
    std::string role_;  // empty: none
    std::shared_ptr<Throttle> throttle_;
  };

  // `group`: a forward's name, or empty for the proxy. Errors: tunnel_limit, client_limit.
  std::expected<Slot, Reason> take(const std::string& group, const IpAddress& client,
                                   SlotLimits limits);
  // The role's share on top; the slot gives both back. Errors: role_limit.
  std::expected<void, Reason> join_role(Slot& slot, const std::string& role,
                                        const RoleLimits& limits);
  // Whether the role may ask once more now.
  bool may_ask(const std::string& role, std::uint32_t per_second);

  // One more password of that client's; give it back when it was right.
  bool may_try_password(const IpAddress& client);
  void password_was_right(const IpAddress& client);

  std::uint64_t open(const std::string& group) const;
  std::uint64_t open_in_role(const std::string& role) const;

 private:
  struct Group {
    std::uint64_t open = 0;
    std::map<IpAddress, std::uint32_t> clients;
  };
  struct RoleUse {
    std::uint64_t open = 0;
    std::optional<TokenBucket> requests;
    std::shared_ptr<Throttle> throttle;
  };
  void release(const Slot& slot);

  mutable std::mutex mutex_;
  FailureLimiter passwords_;
  std::map<std::string, Group> groups_;
  std::map<std::string, RoleUse> roles_;  // as many as configurations of this run named
};

}  // namespace oceanid::proxy
