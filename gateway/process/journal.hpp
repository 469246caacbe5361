#pragma once
// The last events in the operator's words, newest last, bounded; each is logged as well.
// Lives on netd's event loop.

#include "gateway/base/runtime/log.hpp"
#include "gateway/ipc/snapshot.hpp"

#include <deque>
#include <string>
#include <vector>

namespace oceanid::process {

class Journal {
 public:
  void add(const std::string& area, const std::string& text, log::Level level = log::Level::info);
  std::vector<ipc::EventView> latest() const { return {events_.begin(), events_.end()}; }

 private:
  static constexpr std::size_t kept = 20;
  std::deque<ipc::EventView> events_;
};

std::string now_text();

}  // namespace oceanid::process
