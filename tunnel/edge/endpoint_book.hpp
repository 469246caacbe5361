#pragma once
// Which addresses endpoint names had when they last resolved, in memory and on disk: a node that
// boots while DNS is unreachable (because DNS itself goes through the tunnel, say) still finds its
// exits.

#include "tunnel/core/endpoint_text.hpp"

#include <string>
#include <vector>

namespace oceanid::tunnel {

class EndpointBook {
 public:
  explicit EndpointBook(std::string path);  // reads it; a missing file is an empty book

  // True when this was news (and has been written down). An empty answer is never news.
  bool remember(const std::string& name, std::vector<IpAddress> addresses);
  // A literal is its own address.
  std::vector<IpAddress> find(const std::string& host) const;

 private:
  std::string path_;
  AddressBook book_;
};

}  // namespace oceanid::tunnel
