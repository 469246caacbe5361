#pragma once
// Where the decoder and the cross checks put what they find, and the wording they share.

#include "gateway/config/parse.hpp"
#include "gateway/config/yaml_tree.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::config {

class Report {
 public:
  void add(Place place, std::string path, const std::string& message);

  // No problem at `path`, below it or above it: a cross check may rely on what is there.
  bool clean(std::string_view path) const;
  bool empty() const { return problems_.empty(); }

  // Sorted by place, and no more than a screen or two.
  std::vector<Problem> take() &&;

 private:
  std::vector<Problem> problems_;
};

// Everything but printable ASCII escaped: messages go to terminals and logs.
std::string printable(std::string_view text);

// Untrusted text in quotes, shortened and escaped.
std::string quoted(std::string_view text);

// `base.key`, quoted when the key is not a plain word.
std::string join_path(std::string_view base, std::string_view key);
std::string item_path(std::string_view base, std::size_t index);

// "10", nothing, a list, a mapping.
std::string kind_of(const YamlNode& node);

// found X; allowed: Y
std::string found_but(std::string_view what, std::string_view allowed);

// The known key with the smallest edit distance, when it is near enough to be what was meant.
std::string_view nearest(std::string_view key, std::span<const std::string_view> known);

}  // namespace oceanid::config
