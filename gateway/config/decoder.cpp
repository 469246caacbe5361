#include "gateway/config/decoder.hpp"

#include "gateway/config/keys_all.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::config {
namespace {

using tunnel::HealthTarget;

struct TargetKind {
  std::string_view key;
  HealthTarget::Kind kind;
};
constexpr std::array<TargetKind, 6> target_kinds{{{"tls", HealthTarget::Kind::tls},
                                                  {"dns", HealthTarget::Kind::dns},
                                                  {"postgres", HealthTarget::Kind::postgres},
                                                  {"http", HealthTarget::Kind::http},
                                                  {"tcp", HealthTarget::Kind::tcp},
                                                  {"ready", HealthTarget::Kind::ready}}};

// The wording of an unreadable target, empty when it can be read.
std::string target_allowed(HealthTarget::Kind kind, std::string_view text) {
  const auto verdict = [&](const auto& type) { return type.parse(text) ? "" : type.allowed(); };
  switch (kind) {
    case HealthTarget::Kind::tls:
    case HealthTarget::Kind::postgres:
    case HealthTarget::Kind::tcp:
      return verdict(host_port);
    case HealthTarget::Kind::dns:
      return verdict(HostNameType{});
    case HealthTarget::Kind::http:
    case HealthTarget::Kind::ready:
      return verdict(UrlType{"https://www.example.net/health"});
  }
  return {};
}

void read_target_text(Report& report, const YamlNode& child, const std::string& path,
                      HealthTarget& out) {
  if (child.kind != YamlNode::Kind::scalar) {
    report.add(child.place, path, found_but(kind_of(child), "a text"));
    return;
  }
  const std::string allowed = target_allowed(out.kind, child.text);
  if (!allowed.empty()) report.add(child.place, path, found_but(kind_of(child), allowed));
  out.target = child.text;
}

}  // namespace

void Decoder::report_unknown_keys() {
  for (const YamlNode& child : map_.children) {
    if (std::ranges::find(known_, child.key) != known_.end()) continue;
    const std::string_view near = nearest(child.key, known_);
    report_.add(child.key_place, join_path(path_, child.key),
                near.empty()
                    ? fmt::format("found an unknown key; allowed: {}", fmt::join(known_, ", "))
                    : fmt::format("found an unknown key; the nearest known one is {}", near));
  }
}

void HealthTargetType::read(Report& report, const YamlNode& node, const std::string& path,
                            Value& value) const {
  unsigned kinds = 0;
  if (node.kind == YamlNode::Kind::map) {
    for (const YamlNode& child : node.children) {
      const auto known = std::ranges::find(target_kinds, child.key, &TargetKind::key);
      if (known == target_kinds.end()) continue;
      ++kinds;
      value.kind = known->kind;
      read_target_text(report, child, join_path(path, child.key), value);
    }
  }
  if (kinds != 1) {
    const bool map = node.kind == YamlNode::Kind::map;
    report.add(
        node.place, path,
        found_but(map ? fmt::format("{} kinds of target", kinds) : kind_of(node), allowed()));
    return;
  }
  for (const YamlNode& child : node.children) {
    const std::string child_path = join_path(path, child.key);
    const auto status = CountType<unsigned>{100, 599};
    if (std::ranges::find(target_kinds, child.key, &TargetKind::key) != target_kinds.end())
      continue;
    if (child.key != "status" || value.kind != HealthTarget::Kind::http) {
      report.add(child.key_place, child_path, "found an unknown key; allowed: " + allowed());
    } else if (const auto code = status.parse(child.text); code) {
      value.status = *code;
    } else {
      report.add(child.place, child_path, found_but(kind_of(child), status.allowed()));
    }
  }
}

std::string HealthTargetType::schema() const {
  std::string kinds;
  for (const TargetKind& kind : target_kinds)
    kinds += fmt::format(R"("{}":{{"type":"string"}},)", kind.key);
  return R"({"type":"object","properties":{)" + kinds +
         R"("status":{"type":"integer","minimum":100,"maximum":599}},"additionalProperties":false})";
}

namespace {

routing::SnatList read_snat_list(Report& report, const YamlNode& node, const std::string& path) {
  routing::SnatList out;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const YamlNode& child = node.children[i];
    const auto one = child.kind == YamlNode::Kind::scalar ? address.parse(child.text)
                                                          : Parsed<IpAddress>(std::unexpected(""));
    if (!one)
      report.add(child.place, item_path(path, i), found_but(kind_of(child), address.allowed()));
    else if (std::ranges::find(out, *one) != out.end())
      report.add(child.place, item_path(path, i),
                 "found the address a second time; allowed: every one once");
    else
      out.push_back(*one);
  }
  return out;
}

}  // namespace

void SnatType::read(Report& report, const YamlNode& node, const std::string& path,
                    Value& value) const {
  if (node.kind == YamlNode::Kind::scalar) {
    const auto single = IpAddress::parse(node.text);
    if (node.text == "auto")
      value = routing::SnatAuto{};
    else if (node.text == "masquerade")
      value = routing::SnatMasquerade{};
    else if (single)
      value = *single;
    else
      report.add(node.place, path, found_but(kind_of(node), allowed()));
    return;
  }
  if (node.kind == YamlNode::Kind::list && !node.children.empty()) {
    value = read_snat_list(report, node, path);
    return;
  }
  if (node.kind != YamlNode::Kind::map || node.children.empty()) {
    const bool empty_map = node.kind == YamlNode::Kind::map;
    report.add(node.place, path,
               found_but(empty_map ? "an empty mapping" : kind_of(node), allowed()));
    return;
  }
  routing::SnatMap map;
  for (const YamlNode& child : node.children) {
    const std::string child_path = join_path(path, child.key);
    const auto source = prefix.parse(child.key);
    const auto target = IpAddress::parse(child.text);
    if (!source)
      report.add(child.key_place, child_path, found_but(quoted(child.key), prefix.allowed()));
    else if (!target || target->family() != source->family())
      report.add(child.place, child_path,
                 found_but(kind_of(child), "an address of the same family as the prefix"));
    else if (!map.emplace(*source, *target).second)
      report.add(child.key_place, child_path,
                 "found the prefix a second time; allowed: every one once");
  }
  value = std::move(map);
}

std::string SnatType::show(const Value& value) const {
  if (std::holds_alternative<routing::SnatAuto>(value)) return "auto";
  if (std::holds_alternative<routing::SnatMasquerade>(value)) return "masquerade";
  if (const auto* single = std::get_if<IpAddress>(&value)) return single->to_string();
  std::string out;
  if (const auto* list = std::get_if<routing::SnatList>(&value)) {
    for (const IpAddress& one : *list)
      out += (out.empty() ? "[" : ", ") + one.to_string();
    return out + "]";
  }
  for (const auto& [source, target] : std::get<routing::SnatMap>(value))
    out +=
        fmt::format("{}{}: {}", out.empty() ? "{ " : ", ", source.to_string(), target.to_string());
  return out + " }";
}

std::string SnatType::schema() const {
  return R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"},"minItems":1},)"
         R"({"type":"object","additionalProperties":{"type":"string"}}]})";
}

}  // namespace oceanid::config
