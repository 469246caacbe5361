#pragma once
// The connections that an exit translates, told of by connection tracking: kept apart by identity,
// booked into the port budget and the clients' ledger. Pure.

#include "routing/core/client_ledger.hpp"
#include "routing/core/conntrack.hpp"
#include "routing/core/port_budget.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>

namespace oceanid::routing {

class ExitFlows final : public FlowObserver {
 public:
  // As many as the kernel itself allows by default on a machine with 4 GB or more.
  static constexpr std::size_t most_flows = 262'144;

  void flow_begun(const Flow& flow) override;
  void flow_updated(const Flow&) override {}
  void flow_ended(const Flow& flow) override;
  void dump_begins() override;
  void dump_ended() override;

  void account(bool on) { accounting_ = on; }
  // Called in the middle of a notice: an address has few ports left (PortBudget::pressing).
  void set_on_pressing(std::function<void()> call) { on_pressing_ = std::move(call); }
  PortBudget& budget() { return budget_; }
  const PortBudget& budget() const { return budget_; }
  const ClientLedger& ledger() const { return ledger_; }
  std::size_t open() const { return live_.size(); }

 private:
  struct Live {
    PortUse use;
    IpAddress client;
    std::uint32_t seen = 0;  // in which dump, or since
    bool takes_port = false;
    bool accounted = false;
  };
  void close(const Live& live);

  std::unordered_map<std::uint64_t, Live> live_;  // by identity()
  std::uint32_t dump_ = 0;
  std::size_t unseen_ = 0;  // of live_, since the dump began
  bool accounting_ = true;
  PortBudget budget_;
  ClientLedger ledger_;
  std::function<void()> on_pressing_;
};

}  // namespace oceanid::routing
