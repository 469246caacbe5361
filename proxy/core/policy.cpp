#include "proxy/core/policy.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return out;
}

std::string_view word_of(RoleAction action) {
  switch (action) {
    case RoleAction::enforce:
      return "enforce";
    case RoleAction::report:
      return "report";
    case RoleAction::open:
      return "open";
  }
  return "enforce";
}

// The configuration was validated. Should a text slip through all the same, an allow is lost and a
// deny denies everything: never the other way round.
void add_rules(RuleSet& rules, const std::vector<std::string>& texts, bool deny) {
  for (const std::string& text : texts) {
    auto rule = parse_rule(text);
    if (!rule && !deny) continue;
    if (!rule) {
      rule = Rule();
      rule->text = text;
    }
    rules.add(std::move(*rule), deny);
  }
}

std::shared_ptr<const CompiledRole> compile(const Role& role) {
  auto out = std::make_shared<CompiledRole>();
  out->name = role.name;
  out->key = fmt::format("proxy.policy.roles.{}", role.name);
  out->sources = role.sources;
  out->users = role.users;
  for (const std::string& name : role.certificates)
    out->certificates.push_back(lowered(name));
  out->action = role.action;
  add_rules(out->rules, role.allow, false);
  add_rules(out->rules, role.deny, true);
  out->rules.finish();
  out->exit = role.exit;
  out->limits = role.limits;
  out->fallback = role.action == RoleAction::open
                      ? fmt::format("{}.action: {}", out->key, word_of(role.action))
                      : fmt::format("{}.allow: nothing there fits", out->key);
  out->inventory = role.action == RoleAction::report;
  return out;
}

std::shared_ptr<const CompiledRole> compile_default(PolicyDefault action) {
  auto out = std::make_shared<CompiledRole>();
  out->name = "default";
  out->key = "proxy.policy.default";
  switch (action) {
    case PolicyDefault::allow:
      out->action = RoleAction::open;
      out->fallback = "proxy.policy.default: allow";
      break;
    case PolicyDefault::deny:
      out->action = RoleAction::enforce;
      out->fallback = "proxy.policy.default: deny";
      break;
    case PolicyDefault::report:
      out->action = RoleAction::report;
      out->fallback = "proxy.policy.default: report";
      break;
  }
  out->inventory = action == PolicyDefault::report;
  return out;
}

bool plays(const CompiledRole& role, const Identity& who) {
  if (!role.sources.empty() && !contains(role.sources, who.source)) return false;
  if (!role.users.empty() &&
      (who.user.empty() || std::ranges::find(role.users, who.user) == role.users.end()))
    return false;
  if (role.certificates.empty()) return true;
  return std::ranges::any_of(who.certificates, [&](const std::string& name) {
    return std::ranges::find(role.certificates, lowered(name)) != role.certificates.end();
  });
}

std::string text_of(const CompiledRole& role, const RuleSet::Match& match) {
  return fmt::format("{}.{}: {}", role.key, match.deny ? "deny" : "allow", match.rule->text);
}

}  // namespace

Policy::Policy(const ProxySettings& settings)
    : ports_(settings.connect_ports), default_(compile_default(settings.policy.default_action)) {
  roles_.reserve(settings.policy.roles.size());
  for (const Role& role : settings.policy.roles)
    roles_.push_back(compile(role));
}

const std::shared_ptr<const CompiledRole>& Policy::role_of(const Identity& who) const {
  for (const auto& role : roles_)
    if (plays(*role, who)) return role;
  return default_;
}

Decision Policy::decide(const Identity& who, const HostPort& destination, Asked how) const {
  const auto& role = role_of(who);
  Decision out;
  out.role = role->name;
  out.exit = role->exit;
  out.compiled = role;
  out.port = destination.port;
  const auto literal = IpAddress::parse(destination.host);
  const auto match = literal ? role->rules.match_address(*literal, destination.port, true)
                             : role->rules.match_name(destination.host, destination.port);
  out.rule = match ? text_of(*role, *match) : role->fallback;
  bool wanted = match ? !match->deny : role->action == RoleAction::open;
  if (!wanted && !match && !literal && role->rules.allows_addresses(destination.port))
    wanted = out.by_address = true;  // until its addresses are known
  if (!wanted && role->action != RoleAction::report) return out;
  out.reported = !wanted;

  const bool names_port = match && match->rule->names_port();
  if (how == Asked::tunnel && !names_port && !ports_.empty() &&
      std::ranges::find(ports_, destination.port) == ports_.end()) {
    out.ports_rule = fmt::format("proxy.connect_ports: {}", fmt::join(ports_, ", "));
    out.port_open = false;
    if (!out.by_address) {
      out.rule = out.ports_rule;
      out.reason = Reason::port_not_allowed;
      out.reported = false;
      return out;
    }
  }
  out.allowed = true;
  out.reason = Reason::ok;
  return out;
}

AddressVerdict Decision::judge_address(const IpAddress& address) const {
  return compiled ? verdict_of(compiled->rules.match_address(address, port, false))
                  : AddressVerdict();
}

AddressVerdict Decision::judge_unresolved() const {
  return compiled ? verdict_of(std::nullopt) : AddressVerdict();
}

AddressVerdict Decision::verdict_of(const std::optional<RuleSet::Match>& match) const {
  AddressVerdict out;
  const bool lenient = compiled->action == RoleAction::report;
  const bool refused = match ? match->deny : by_address;
  if (match && (refused || by_address)) out.rule = text_of(*compiled, *match);
  if (refused) {
    if (!match) out.rule = rule;
    out.allowed = lenient;
    out.reported = lenient;
    out.reason = lenient ? Reason::ok : Reason::policy_denied;
  }
  if (!port_open && out.allowed && (!match || match->deny || !match->rule->names_port()))
    return {false, false, Reason::port_not_allowed, ports_rule};
  return out;
}

}  // namespace oceanid::proxy
