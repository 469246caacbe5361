#pragma once
// An immutable list of prefixes that copies share: a configuration with 100,000 of them is copied
// and compared at every convergence. Equal lists are the same object most of the time, which is
// looked at first.

#include "gateway/base/net_types.hpp"

#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace oceanid {

class PrefixList {
 public:
  using value_type = Prefix;
  using const_iterator = std::vector<Prefix>::const_iterator;
  using iterator = const_iterator;
  using size_type = std::size_t;

  PrefixList() = default;
  PrefixList(std::vector<Prefix> prefixes) {
    if (prefixes.empty()) return;
    prefixes.shrink_to_fit();
    list_ = std::make_shared<const std::vector<Prefix>>(std::move(prefixes));
  }
  PrefixList(std::initializer_list<Prefix> prefixes) : PrefixList(std::vector<Prefix>(prefixes)) {}

  const std::vector<Prefix>& all() const {
    static const std::vector<Prefix> none;
    return list_ ? *list_ : none;
  }
  operator const std::vector<Prefix>&() const { return all(); }
  const_iterator begin() const { return all().begin(); }
  const_iterator end() const { return all().end(); }
  std::size_t size() const { return all().size(); }
  bool empty() const { return !list_; }
  const Prefix& operator[](std::size_t index) const { return all()[index]; }

  friend bool operator==(const PrefixList& a, const PrefixList& b) {
    return a.list_ == b.list_ || a.all() == b.all();
  }

 private:
  std::shared_ptr<const std::vector<Prefix>> list_;  // none: empty
};

}  // namespace oceanid
