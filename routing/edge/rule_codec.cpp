#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <array>
#include <bit>

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

namespace oceanid::routing {
namespace {

std::uint8_t family_number(Family family) {
  return family == Family::v4 ? AF_INET : AF_INET6;
}

struct PutAction {
  fib_rule_hdr& head;
  Message& message;
  void operator()(const Lookup& action) const {
    head.action = FR_ACT_TO_TBL;
    head.table = action.table < 256 ? static_cast<std::uint8_t>(action.table) : RT_TABLE_UNSPEC;
    message.put_u32(FRA_TABLE, action.table);
    if (action.specific) message.put_u32(FRA_SUPPRESS_PREFIXLEN, 0);
  }
  void operator()(const Goto& action) const {
    head.action = FR_ACT_GOTO;
    message.put_u32(FRA_GOTO, action.priority);
  }
  void operator()(const Nop&) const { head.action = FR_ACT_NOP; }
  void operator()(const Unreachable&) const { head.action = FR_ACT_UNREACHABLE; }
  void operator()(const Blackhole&) const { head.action = FR_ACT_BLACKHOLE; }
};

Message encode_rule(std::uint16_t type, std::uint16_t flags, const Rule& rule) {
  Message message(type, flags);
  auto& head = message.extra<fib_rule_hdr>();
  head.family = family_number(rule.family);
  message.put_u32(FRA_PRIORITY, rule.priority);
  message.put_u8(FRA_PROTOCOL, route_protocol);
  if (rule.from && rule.from->length() > 0) {
    head.src_len = static_cast<std::uint8_t>(rule.from->length());
    message.put(FRA_SRC, rule.from->address().bytes());
  }
  if (rule.to && rule.to->length() > 0) {
    head.dst_len = static_cast<std::uint8_t>(rule.to->length());
    message.put(FRA_DST, rule.to->address().bytes());
  }
  if (rule.iif) message.put_text(FRA_IIFNAME, rule.iif->str());
  if (rule.oif) message.put_text(FRA_OIFNAME, rule.oif->str());
  if (rule.mark) {
    message.put_u32(FRA_FWMARK, rule.mark->value);
    message.put_u32(FRA_FWMASK, rule.mark->mask);
  }
  if (rule.ip_protocol) message.put_u8(FRA_IP_PROTO, *rule.ip_protocol);
  if (rule.destination_port) {
    // fib_rule_port_range: two numbers in host order
    const std::array range{*rule.destination_port, *rule.destination_port};
    const auto raw = std::bit_cast<std::array<std::uint8_t, sizeof(range)>>(range);
    message.put(FRA_DPORT_RANGE, raw);
  }
  std::visit(PutAction{head, message}, rule.action);
  return message;
}

std::optional<RuleAction> decode_action(const fib_rule_hdr& head, const Attributes& attributes) {
  switch (head.action) {
    case FR_ACT_TO_TBL:
      return Lookup{attributes.u32(FRA_TABLE).value_or(head.table),
                    attributes.u32(FRA_SUPPRESS_PREFIXLEN) == 0U};
    case FR_ACT_GOTO:
      return Goto{attributes.u32(FRA_GOTO).value_or(0)};
    case FR_ACT_NOP:
      return Nop{};
    case FR_ACT_UNREACHABLE:
      return Unreachable{};
    case FR_ACT_BLACKHOLE:
      return Blackhole{};
    default:
      return std::nullopt;
  }
}

// Length 0 is "all", which the kernel reports without an address.
std::optional<Prefix> decode_prefix(const Attributes& attributes, std::uint16_t type, Family family,
                                    std::uint8_t length) {
  const auto address = attributes.address(type, family);
  if (!address || length == 0 || length > address->bits()) return std::nullopt;
  return network_of(*address, length);
}

constexpr std::uint32_t no_suppression = 0xffffffff;

// True when the rule has nothing that Rule cannot express.
bool is_expressible(const fib_rule_hdr& head, const Attributes& a) {
  const bool inverted = (head.flags & FIB_RULE_INVERT) != 0;
  const std::uint32_t shortest = a.u32(FRA_SUPPRESS_PREFIXLEN).value_or(no_suppression);
  const bool suppresses =
      (shortest != no_suppression && (shortest != 0 || head.action != FR_ACT_TO_TBL)) ||
      a.u32(FRA_SUPPRESS_IFGROUP).value_or(no_suppression) != no_suppression;
  const bool other = head.tos != 0 || a.has(FRA_FLOW) || a.has(FRA_TUN_ID) ||
                     a.u8(FRA_L3MDEV).value_or(0) != 0 || a.has(FRA_UID_RANGE) ||
                     a.has(FRA_SPORT_RANGE);
  return !inverted && !suppresses && !other;
}

}  // namespace

Message encode_add_rule(const Rule& rule) {
  return encode_rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
}

Message encode_delete_rule(const Rule& rule) {
  return encode_rule(RTM_DELRULE, 0, rule);
}

std::optional<DecodedRule> decode_rule(const nlmsghdr& message) {
  if ((message.nlmsg_type != RTM_NEWRULE && message.nlmsg_type != RTM_DELRULE) ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(fib_rule_hdr))
    return std::nullopt;
  const auto& head = *static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(&message));
  if (head.family != AF_INET && head.family != AF_INET6) return std::nullopt;
  const auto attributes = Attributes::of(message, sizeof(fib_rule_hdr));
  if (attributes.u8(FRA_PROTOCOL) != route_protocol) return std::nullopt;
  const auto action = decode_action(head, attributes);
  if (!action) return std::nullopt;

  DecodedRule out;
  Rule& rule = out.rule;
  rule.family = head.family == AF_INET ? Family::v4 : Family::v6;
  rule.priority = attributes.u32(FRA_PRIORITY).value_or(0);
  rule.action = *action;
  rule.from = decode_prefix(attributes, FRA_SRC, rule.family, head.src_len);
  rule.to = decode_prefix(attributes, FRA_DST, rule.family, head.dst_len);
  rule.iif = attributes.interface(FRA_IIFNAME);
  rule.oif = attributes.interface(FRA_OIFNAME);
  if (attributes.has(FRA_FWMASK))
    rule.mark =
        Mark{attributes.u32(FRA_FWMARK).value_or(0), attributes.u32(FRA_FWMASK).value_or(0)};
  rule.ip_protocol = attributes.u8(FRA_IP_PROTO);
  out.exact = is_expressible(head, attributes);
  if (const auto range = attributes.number<std::array<std::uint16_t, 2>>(FRA_DPORT_RANGE)) {
    rule.destination_port = range->front();
    out.exact = out.exact && range->front() == range->back();
  }
  return out;
}

}  // namespace oceanid::routing
