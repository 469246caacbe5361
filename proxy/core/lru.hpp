#pragma once
// A map that holds at most `capacity` entries: the one that was used longest ago gives way. Not
// thread-safe.

#include <cstddef>
#include <functional>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

namespace oceanid::proxy {

template <class Key, class Value, class Hash = std::hash<Key>>
class Lru {
 public:
  explicit Lru(std::size_t capacity) : capacity_(capacity) {}

  // Null when there is none; else it is now the one used last.
  Value* find(const Key& key) {
    const auto found = places_.find(key);
    if (found == places_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }
  const Value* peek(const Key& key) const {
    const auto found = places_.find(key);
    return found == places_.end() ? nullptr : &found->second->second;
  }

  // Returns the entry that gave way, if any. With a capacity of 0 that is the new one.
  std::optional<std::pair<Key, Value>> put(const Key& key, Value value) {
    if (Value* known = find(key)) {
      *known = std::move(value);
      return std::nullopt;
    }
    order_.emplace_front(key, std::move(value));
    places_.emplace(key, order_.begin());
    if (order_.size() <= capacity_) return std::nullopt;
    std::optional<std::pair<Key, Value>> out(std::move(order_.back()));
    places_.erase(out->first);
    order_.pop_back();
    return out;
  }

  bool erase(const Key& key) {
    const auto found = places_.find(key);
    if (found == places_.end()) return false;
    order_.erase(found->second);
    places_.erase(found);
    return true;
  }

  void clear() {
    places_.clear();
    order_.clear();
  }
  std::size_t size() const { return order_.size(); }
  bool empty() const { return order_.empty(); }

 private:
  using Order = std::list<std::pair<Key, Value>>;  // the one used last first
  std::size_t capacity_;
  Order order_;
  std::unordered_map<Key, typename Order::iterator, Hash> places_;
};

}  // namespace oceanid::proxy
