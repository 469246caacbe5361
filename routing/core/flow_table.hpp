#pragma once
// Which connections of pods go by which exit: a shadow of the kernel's entries that the kernel's
// marks have no room for (four bits, all of them taken). A connection belongs to the exit that was
// active when it began; after a restart, and when it became known late, to the one that is active
// now. Bounded. Pure; one thread.

#include "routing/core/conntrack.hpp"
#include "routing/core/flow_scope.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace oceanid::routing {

class FlowTable final : public FlowObserver {
 public:
  // Beyond it connections are not known, and end by their own timeouts. An entry takes 88 bytes
  // with its bucket (measured: glibc, full table): 22 MiB.
  static constexpr std::size_t most = 262144;

  explicit FlowTable(std::size_t limit = most);

  void set_scope(FlowScope scope) { scope_ = std::move(scope); }
  // What carries this mark when it becomes known was left behind by a switch of a former life.
  void set_draining(const Mark& mark) { draining_ = mark; }
  // From now on connections begin by this device; those that are known stay with theirs.
  void follow(const IfName& device);
  const std::optional<IfName>& device() const { return device_; }

  struct Taken {
    std::vector<Flow> flows;  // tuples and number only; the reply's tuple is not kept
    bool complete = false;    // there are no more
  };
  // Takes connections that went by another device than the one followed now out of the table, a
  // part at a time: `count` at most, and a walk of some ten microseconds.
  Taken take_left_behind(std::size_t count);
  // All connections by the device that is followed, a part at a time; `from` is 0 at first and
  // becomes 0 again behind the last part.
  std::vector<Flow> some(std::size_t& from) const;
  std::size_t size() const { return flows_.size(); }
  std::size_t left_behind() const { return flows_.size() - current_; }
  std::uint64_t refused() const { return refused_; }  // for want of room

  void flow_begun(const Flow& flow) override;
  void flow_updated(const Flow& flow) override;
  void flow_ended(const Flow& flow) override;
  void dump_begins() override { ++round_; }
  void dump_ended() override;

 private:
  struct Entry {
    std::uint32_t id = 0;
    std::uint16_t way = 0;   // the number of the switch that it began after
    std::uint8_t round = 0;  // of the last dump or notice that named it
    bool answered = false;
  };
  using Flows = std::unordered_map<FlowTuple, Entry, FlowTupleHash>;

  void remember(const Flow& flow, bool may_be_new);
  void stay(Entry& entry);
  void forget(Flows::iterator at);

  std::size_t limit_;
  FlowScope scope_;
  std::optional<IfName> device_;
  std::optional<Mark> draining_;
  Flows flows_;
  std::uint16_t way_ = 0;
  std::uint8_t round_ = 0;
  std::size_t current_ = 0;  // how many of flows_ have way_
  std::size_t bucket_ = 0;   // how far the walk has come
  std::uint64_t refused_ = 0;
};

}  // namespace oceanid::routing
