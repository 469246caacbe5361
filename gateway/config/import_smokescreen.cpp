#include "gateway/config/import_smokescreen.hpp"

#include "gateway/config/report.hpp"
#include "gateway/config/yaml_tree.hpp"
#include "proxy/core/rule.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

using proxy::Rule;

constexpr std::size_t max_warnings = 100;

struct Service {
  std::string name;
  std::string action;  // enforce | report | open
  std::vector<Rule> allow;
};

bool is_glob(const Rule& rule) {
  return rule.kind == Rule::Kind::exact || rule.kind == Rule::Kind::suffix;
}

// Whether every name that `narrow` means is one that `wide` means.
bool covers(const Rule& wide, const Rule& narrow) {
  if (wide.kind == Rule::Kind::exact)
    return narrow.kind == Rule::Kind::exact && narrow.host == wide.host;
  return narrow.host.ends_with("." + wide.host) ||
         (narrow.kind == Rule::Kind::suffix && narrow.host == wide.host);
}

class Importer {
 public:
  explicit Importer(std::string_view acl) : root_(parse_yaml(acl, report_)) {}

  std::expected<ImportedPolicy, std::vector<Problem>> run() {
    if (report_.empty()) read();
    if (!report_.empty()) return std::unexpected(std::move(report_).take());
    write();
    return std::move(out_);
  }

 private:
  void warn(std::string text) {
    if (out_.warnings.size() < max_warnings) out_.warnings.push_back(std::move(text));
  }

  static std::string text_of(const YamlNode& parent, std::string_view key) {
    const YamlNode* node = parent.child(key);
    return node != nullptr && node->kind == YamlNode::Kind::scalar ? node->text : std::string();
  }

  void read() {
    if (root_.kind != YamlNode::Kind::map || text_of(root_, "version") != "v1") {
      report_.add(root_.place, "version", "expected a smokescreen ACL file with version: v1");
      return;
    }
    deny_ = globs(root_, "global_deny_list", "global_deny_list");
    allow_ = globs(root_, "global_allow_list", "global_allow_list");
    const YamlNode* services = root_.child("services");
    if (services == nullptr || services->kind != YamlNode::Kind::list) {
      report_.add(root_.place, "services", "expected a list");
      return;
    }
    for (std::size_t i = 0; i < services->children.size(); ++i)
      if (auto service = read_service(services->children[i], item_path("services", i), true))
        services_.push_back(std::move(*service));
    if (const YamlNode* fallback = root_.child("default");
        fallback != nullptr && fallback->kind == YamlNode::Kind::map)
      default_ = read_service(*fallback, "default", false);
    for (const YamlNode& key : root_.children)
      if (!std::set<std::string_view>{"version", "services", "default", "global_deny_list",
                                      "global_allow_list"}
               .contains(key.key))
        warn(fmt::format("{} has no counterpart and is left out", quoted(key.key)));
  }

  std::optional<Service> read_service(const YamlNode& node, const std::string& path, bool named) {
    if (node.kind != YamlNode::Kind::map) {
      report_.add(node.place, path, "expected a mapping");
      return std::nullopt;
    }
    Service out;
    out.name = text_of(node, "name");
    out.action = text_of(node, "action");
    if (named && out.name.empty()) {
      report_.add(node.place, path + ".name", "expected the service's name");
      return std::nullopt;
    }
    if (std::ranges::any_of(
            out.name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }) ||
        out.name.size() > 200) {
      report_.add(node.place, path + ".name", "found a name that no certificate has");
      return std::nullopt;
    }
    if (out.action != "enforce" && out.action != "report" && out.action != "open") {
      report_.add(node.place, path + ".action", "expected enforce, report or open");
      return std::nullopt;
    }
    out.allow = globs(node, "allowed_domains", path);
    for (const YamlNode& key : node.children) {
      if (!std::set<std::string_view>{"name", "project", "action", "allowed_domains"}.contains(
              key.key))
        warn(fmt::format("{}: {} has no counterpart and is left out", path, quoted(key.key)));
    }
    return out;
  }

  std::vector<Rule> globs(const YamlNode& parent, std::string_view key, const std::string& path) {
    std::vector<Rule> out;
    const YamlNode* list = parent.child(key);
    if (list == nullptr || list->kind != YamlNode::Kind::list) return out;
    for (const YamlNode& node : list->children) {
      auto rule = proxy::parse_rule(node.text);
      if (node.kind == YamlNode::Kind::scalar && rule && is_glob(*rule) && !rule->names_port()) {
        out.push_back(std::move(*rule));
      } else if (rule && rule->kind == Rule::Kind::address) {
        warn(fmt::format("{}: {} is an address: it holds for resolved names as well here", path,
                         quoted(node.text)));
        out.push_back(std::move(*rule));
      } else {
        report_.add(node.place, path + "." + std::string(key),
                    fmt::format("found {}; allowed: a host or *.domain", quoted(node.text)));
      }
    }
    return out;
  }

  void write() {
    out_.yaml =
        "# from a smokescreen ACL; clients show who they are by certificate (listeners[].tls)\n"
        "proxy:\n"
        "  connect_ports: []   # smokescreen asks for no port\n"
        "  policy:\n";
    out_.yaml += fmt::format("    default: {}\n", default_word());
    std::string roles;
    for (const Service& service : services_)
      roles += role(service, role_name(service.name), true);
    if (default_ && needs_role(*default_)) roles += role(*default_, role_name("everybody"), false);
    out_.yaml += roles.empty() ? "    roles: []\n" : "    roles:\n" + roles;
  }

  bool needs_role(const Service& service) const {
    return !service.allow.empty() || !allow_.empty() || !deny_.empty();
  }

  std::string_view default_word() const {
    if (!default_ || default_->action == "enforce" || needs_role(*default_)) return "deny";
    return default_->action == "open" ? "allow" : "report";
  }

  // Our names are [a-z0-9-], at most 63.
  std::string role_name(const std::string& text) {
    std::string out;
    for (const char c : text) {
      const char l = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
      const bool plain = (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9');
      if (plain || (!out.empty() && out.back() != '-')) out += plain ? l : '-';
      if (out.size() == 50) break;
    }
    while (out.ends_with('-'))
      out.pop_back();
    if (out.empty() || out == "default") out = "role";
    std::string unique = out;
    for (int i = 2; !names_.insert(unique).second; ++i)
      unique = fmt::format("{}-{}", out, i);
    return unique;
  }

  static void list(std::string& out, std::string_view key, const std::vector<Rule>& rules) {
    if (rules.empty()) return;
    out += fmt::format("        {}:\n", key);
    for (const Rule& rule : rules)
      out += fmt::format("          - \"{}\"\n", plain(rule));
  }

  // The canonical text: what the file says may hold characters that need escaping.
  static std::string plain(const Rule& rule) {
    if (rule.kind == Rule::Kind::address) return rule.prefix.to_string();
    return (rule.kind == Rule::Kind::suffix ? "*." : "") + rule.host;
  }

  std::string role(const Service& service, const std::string& name, bool certificate) {
    std::vector<Rule> allow = service.allow;
    std::vector<Rule> deny;
    for (const Rule& rule : deny_)
      if (auto kept = deny_for(service, rule, name)) deny.push_back(std::move(*kept));
    for (const Rule& rule : allow_) {
      const auto shadows = [&](const Rule& other) { return covers(other, rule); };
      if (std::ranges::none_of(deny_, shadows) && std::ranges::none_of(allow, shadows))
        allow.push_back(rule);
    }
    std::string out = fmt::format("      - name: {}\n", name);
    if (certificate)
      out += fmt::format("        match: {{ certificates: [{}] }}\n", yaml_text(service.name));
    out += fmt::format("        action: {}\n", service.action);
    list(out, "allow", allow);
    list(out, "deny", deny);
    if (service.action == "report" && !deny.empty())
      warn(
          fmt::format("role {}: smokescreen refuses global_deny_list even in report mode; here "
                      "report refuses nothing until its action is enforce",
                      name));
    return out;
  }

  std::optional<Rule> deny_for(const Service& service, const Rule& rule, const std::string& name) {
    for (const Rule& allowed : service.allow) {
      if (covers(allowed, rule) && covers(rule, allowed)) return std::nullopt;  // allow came first
      if (covers(allowed, rule))
        warn(fmt::format("role {}: {} is denied; smokescreen lets the service's own {} win", name,
                         plain(rule), plain(allowed)));
    }
    return rule;
  }

  static std::string yaml_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        out += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      else
        out += c;
    }
    return out + "\"";
  }

  Report report_;
  YamlNode root_;
  std::vector<Rule> deny_;
  std::vector<Rule> allow_;
  std::vector<Service> services_;
  std::optional<Service> default_;
  std::set<std::string> names_;
  ImportedPolicy out_;
};

}  // namespace

std::expected<ImportedPolicy, std::vector<Problem>> import_smokescreen(std::string_view acl) {
  if (acl.size() > max_config_bytes)
    return std::unexpected(std::vector<Problem>{{0, 0, "", "the file is too large"}});
  return Importer(acl).run();
}

}  // namespace oceanid::config
