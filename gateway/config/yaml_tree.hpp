#pragma once
// A YAML text as a plain tree with the place of every key and value. Built straight from yaml-cpp's
// events: its own node builder recurses without end on an alias inside its own anchor (`&a [*a]`),
// and it forgets where a key stood.

#include <string>
#include <string_view>
#include <vector>

namespace oceanid::config {

class Report;

struct Place {
  unsigned line = 1;  // both 1-based, the column in bytes
  unsigned column = 1;
};

struct YamlNode {
  enum class Kind : unsigned char { null, scalar, list, map };

  Kind kind = Kind::null;
  Place place;                     // of the value; of its key when the value is empty
  std::string text;                // scalar
  std::string key;                 // in a map
  Place key_place;                 // in a map
  std::vector<YamlNode> children;  // of a list or a map, in order

  const YamlNode* child(std::string_view name) const;
};

// At most this many lists and mappings inside each other.
inline constexpr std::size_t max_nesting = 16;

// Anchors, aliases, tags, duplicate keys, several documents, deep nesting and broken YAML go to the
// report.
YamlNode parse_yaml(std::string_view text, Report& report);

// The node that a path like tunnel.peers[0].name leads to, or the last one on the way to it.
Place place_of(const YamlNode& root, std::string_view path);

}  // namespace oceanid::config
