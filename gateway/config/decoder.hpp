#pragma once
// Fills a settings value from a YAML mapping by the table of its keys. What is wrong goes to the
// report and leaves the default in place, so that one pass finds everything.

#include "gateway/base/prefix_list.hpp"
#include "gateway/config/keys.hpp"

namespace oceanid::config {

class Decoder {
 public:
  Decoder(Report& report, const YamlNode& map, std::string path)
      : report_(report), map_(map), path_(std::move(path)) {}

  template <class T, class Type>
  void field(const Key& key, T& value, const Type& type) {
    known_.push_back(key.name);
    const YamlNode* node = map_.child(key.name);
    if (node != nullptr)
      read(*node, join_path(path_, key.name), value, type);
    else if (key.required)
      report_.add(map_.place, join_path(path_, key.name),
                  "found nothing, the key is required; allowed: " + allowed_of(type));
  }

  template <class T>
  static void object(Report& report, const YamlNode& node, const std::string& path, T& value) {
    if (node.kind != YamlNode::Kind::map) {
      report.add(node.place, path, found_but(kind_of(node), allowed_of(Object{})));
      return;
    }
    Decoder decoder(report, node, path);
    describe(decoder, value);
    decoder.report_unknown_keys();
  }

 private:
  template <class T, Scalar Type>
  void read(const YamlNode& node, const std::string& path, T& value, const Type& type) {
    if (node.kind != YamlNode::Kind::scalar) {
      report_.add(node.place, path, found_but(kind_of(node), type.allowed()));
      return;
    }
    auto parsed = type.parse(node.text);
    if (parsed) {
      value = std::move(*parsed);
      return;
    }
    const std::string why = parsed.error().empty() ? "" : " (" + parsed.error() + ")";
    report_.add(node.place, path, found_but(kind_of(node) + why, type.allowed()));
  }

  template <class T, Custom Type>
  void read(const YamlNode& node, const std::string& path, T& value, const Type& type) {
    type.read(report_, node, path, value);
  }

  template <class T>
  void read(const YamlNode& node, const std::string& path, T& value, const Object&) {
    object(report_, node, path, value);
  }

  template <class T, class Inner>
  void read(const YamlNode& node, const std::string& path, std::optional<T>& value,
            const Nullable<Inner>& type) {
    if (node.kind == YamlNode::Kind::null) {
      value.reset();
      return;
    }
    T inner = initial<T>();
    read(node, path, inner, type.inner);
    value = std::move(inner);
  }

  // A bad item leaves an empty one in its place: the indices of the others stay those of the file.
  template <class T, class Item>
  void read(const YamlNode& node, const std::string& path, std::vector<T>& value,
            const List<Item>& type) {
    const bool single = Scalar<Item> && node.kind == YamlNode::Kind::scalar;
    if (!single && node.kind != YamlNode::Kind::list) {
      report_.add(node.place, path, found_but(kind_of(node), allowed_of(type)));
      return;
    }
    value.clear();
    if (single) {
      read(node, path, value.emplace_back(), type.item);
      return;
    }
    if (type.required && node.children.empty())
      report_.add(node.place, path, found_but("an empty list", allowed_of(type)));
    for (const YamlNode& child : node.children) {
      const std::string child_path = item_path(path, value.size());
      read(child, child_path, value.emplace_back(), type.item);
    }
  }

  template <class Item>
  void read(const YamlNode& node, const std::string& path, PrefixList& value,
            const List<Item>& type) {
    std::vector<Prefix> list = value;
    read(node, path, list, type);
    value = std::move(list);
  }

  void report_unknown_keys();

  Report& report_;
  const YamlNode& map_;
  std::string path_;
  std::vector<std::string_view> known_;
};

}  // namespace oceanid::config
