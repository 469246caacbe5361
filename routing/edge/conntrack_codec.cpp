#include "routing/edge/conntrack_codec.hpp"

#include "routing/edge/netlink_attributes.hpp"

#include <bit>

#include <endian.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

constexpr std::uint16_t type_of(unsigned message) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_CTNETLINK << 8) | message);
}

std::uint16_t be16(const Attributes& attributes, std::uint16_t type) {
  return be16toh(attributes.number<std::uint16_t>(type).value_or(0));
}

std::optional<FlowTuple> decode_tuple(const Attributes& attributes, std::uint16_t type,
                                      Family family) {
  const Attributes tuple = attributes.nested(type);
  const Attributes addresses = tuple.nested(CTA_TUPLE_IP);
  const Attributes protocol = tuple.nested(CTA_TUPLE_PROTO);
  const bool four = family == Family::v4;
  const auto source = addresses.address(four ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, family);
  const auto destination = addresses.address(four ? CTA_IP_V4_DST : CTA_IP_V6_DST, family);
  const auto number = protocol.u8(CTA_PROTO_NUM);
  if (!source || !destination || !number) return std::nullopt;
  return FlowTuple{*source, *destination, be16(protocol, CTA_PROTO_SRC_PORT),
                   be16(protocol, CTA_PROTO_DST_PORT), *number};
}

std::optional<FlowCount> decode_count(const Attributes& attributes, std::uint16_t type) {
  if (!attributes.has(type)) return std::nullopt;
  const Attributes counters = attributes.nested(type);
  return FlowCount{counters.be64(CTA_COUNTERS_PACKETS).value_or(0),
                   counters.be64(CTA_COUNTERS_BYTES).value_or(0)};
}

std::optional<TcpState> decode_tcp_state(const Attributes& attributes) {
  const auto state =
      attributes.nested(CTA_PROTOINFO).nested(CTA_PROTOINFO_TCP).u8(CTA_PROTOINFO_TCP_STATE);
  if (!state || *state > static_cast<std::uint8_t>(TcpState::syn_sent2)) return std::nullopt;
  return static_cast<TcpState>(*state);
}

void put_be16(Message& message, std::uint16_t type, std::uint16_t value) {
  message.put_u16(type, htobe16(value));
}

void put_be32(Message& message, std::uint16_t type, std::uint32_t value) {
  message.put_u32(type, htobe32(value));
}

std::uint16_t nested(unsigned type) {
  return static_cast<std::uint16_t>(type | NLA_F_NESTED);
}

// What ICMP has instead of ports is not asked for: only flows with ports are ever changed.
void put_tuple(Message& message, std::uint16_t type, const FlowTuple& tuple) {
  const bool four = tuple.family() == Family::v4;
  nlattr* outer = message.begin_nested(nested(type));
  nlattr* addresses = message.begin_nested(nested(CTA_TUPLE_IP));
  message.put(four ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.source.bytes());
  message.put(four ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.destination.bytes());
  message.end_nested(addresses);
  nlattr* protocol = message.begin_nested(nested(CTA_TUPLE_PROTO));
  message.put_u8(CTA_PROTO_NUM, tuple.protocol);
  put_be16(message, CTA_PROTO_SRC_PORT, tuple.source_port);
  put_be16(message, CTA_PROTO_DST_PORT, tuple.destination_port);
  message.end_nested(protocol);
  message.end_nested(outer);
}

Message begin(unsigned message, std::uint16_t flags, int family) {
  Message out(type_of(message), flags);
  out.extra<nfgenmsg>().nfgen_family = static_cast<std::uint8_t>(family);
  return out;
}

int number_of(Family family) {
  return family == Family::v4 ? AF_INET : AF_INET6;
}

}  // namespace

std::optional<FlowEvent> decode_flow(const nlmsghdr& message) {
  const bool ended = message.nlmsg_type == type_of(IPCTNL_MSG_CT_DELETE);
  if (!ended && message.nlmsg_type != type_of(IPCTNL_MSG_CT_NEW)) return std::nullopt;
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(nfgenmsg)) return std::nullopt;
  const auto* head = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&message));
  if (head->nfgen_family != AF_INET && head->nfgen_family != AF_INET6) return std::nullopt;
  const Family family = head->nfgen_family == AF_INET ? Family::v4 : Family::v6;
  const Attributes attributes = Attributes::of(message, sizeof(nfgenmsg));
  // Zones are somebody else's device for addresses that overlap; ours is the first one, which is
  // not named.
  if (attributes.has(CTA_ZONE)) return std::nullopt;
  const auto original = decode_tuple(attributes, CTA_TUPLE_ORIG, family);
  const auto reply = decode_tuple(attributes, CTA_TUPLE_REPLY, family);
  if (!original || !reply) return std::nullopt;
  FlowEvent out;
  // An update has neither flag; the parts of a dump are NLM_F_MULTI.
  const bool new_or_dumped = (message.nlmsg_flags & (NLM_F_CREATE | NLM_F_MULTI)) != 0;
  out.kind = ended           ? FlowEventKind::ended
             : new_or_dumped ? FlowEventKind::begun
                             : FlowEventKind::updated;
  out.flow.original = *original;
  out.flow.reply = *reply;
  out.flow.mark = attributes.be32(CTA_MARK).value_or(0);
  out.flow.id = attributes.be32(CTA_ID).value_or(0);
  out.flow.status = attributes.be32(CTA_STATUS).value_or(0);
  out.flow.tcp_state = decode_tcp_state(attributes);
  out.flow.sent = decode_count(attributes, CTA_COUNTERS_ORIG);
  out.flow.received = decode_count(attributes, CTA_COUNTERS_REPLY);
  return out;
}

Message encode_flow_dump(const Mark& mark) {
  Message out = begin(IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
  put_be32(out, CTA_MARK, mark.value);
  put_be32(out, CTA_MARK_MASK, mark.mask);
  return out;
}

Message encode_flow_delete(const Flow& flow) {
  Message out = begin(IPCTNL_MSG_CT_DELETE, 0, number_of(flow.original.family()));
  put_tuple(out, CTA_TUPLE_ORIG, flow.original);
  put_be32(out, CTA_ID, flow.id);
  return out;
}

// Neither NLM_F_CREATE nor a new tuple: an entry that is gone stays gone (ENOENT).
Message encode_flow_mark(const Flow& flow, const Mark& mark) {
  Message out = begin(IPCTNL_MSG_CT_NEW, 0, number_of(flow.original.family()));
  put_tuple(out, CTA_TUPLE_ORIG, flow.original);
  put_be32(out, CTA_MARK, mark.value);
  put_be32(out, CTA_MARK_MASK, mark.mask);
  return out;
}

// The kernel's own look-up of attributes (SKF_AD_NLATTR: A = where to look, X = the type) finds the
// mark wherever it stands. `lost` and `taken` are the last two instructions.
std::vector<sock_filter> flow_filter(const Mark& mark) {
  constexpr std::uint32_t attributes_at = sizeof(nlmsghdr) + sizeof(nfgenmsg);
  // The number of the message and the flag are read as bytes, since BPF loads are big-endian and
  // netlink's header is the host's.
  constexpr bool little = std::endian::native == std::endian::little;
  constexpr std::uint32_t number_at = little ? 4 : 5;
  constexpr std::uint32_t high_flags_at = little ? 7 : 6;
  constexpr std::uint32_t payload = sizeof(nlattr);
  constexpr std::uint32_t find = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_NLATTR);
  constexpr std::uint32_t find_inside = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_NLATTR_NEST);

  std::vector<sock_filter> program;
  const auto add = [&](unsigned code, std::uint32_t k) {
    program.push_back({static_cast<std::uint16_t>(code), 0, 0, k});
  };
  // Jumps are written with the distance to the ends, which is known when the program is complete.
  constexpr std::uint8_t to_taken = 0xfe;
  constexpr std::uint8_t to_lost = 0xff;
  const auto jump = [&](unsigned test, std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
    program.push_back({static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), yes, no, k});
  };
  const auto look_up = [&](std::uint32_t how, std::uint32_t type) {
    add(BPF_LDX | BPF_IMM, type);
    add(BPF_LD | BPF_B | BPF_ABS, how);
    jump(BPF_JEQ, 0, to_lost, 0);
  };

  add(BPF_LD | BPF_IMM, attributes_at);
  look_up(find, CTA_MARK);
  add(BPF_MISC | BPF_TAX, 0);
  add(BPF_LD | BPF_W | BPF_IND, payload);
  add(BPF_ALU | BPF_AND | BPF_K, mark.mask);
  jump(BPF_JEQ, mark.value & mark.mask, 0, to_lost);
  add(BPF_LD | BPF_B | BPF_ABS, number_at);
  jump(BPF_JEQ, IPCTNL_MSG_CT_NEW, 0, to_taken);
  add(BPF_LD | BPF_B | BPF_ABS, high_flags_at);
  jump(BPF_JSET, NLM_F_CREATE >> 8, to_taken, 0);
  add(BPF_LD | BPF_IMM, attributes_at);
  look_up(find, CTA_PROTOINFO);
  look_up(find_inside, CTA_PROTOINFO_TCP);
  look_up(find_inside, CTA_PROTOINFO_TCP_STATE);
  add(BPF_MISC | BPF_TAX, 0);
  add(BPF_LD | BPF_B | BPF_IND, payload);
  jump(BPF_JEQ, static_cast<std::uint32_t>(TcpState::established), to_taken, 0);
  jump(BPF_JEQ, static_cast<std::uint32_t>(TcpState::time_wait), to_taken, 0);
  jump(BPF_JEQ, static_cast<std::uint32_t>(TcpState::close), to_taken, to_lost);
  add(BPF_RET | BPF_K, 0);
  add(BPF_RET | BPF_K, 0xffffffff);

  const std::size_t lost = program.size() - 2;
  for (std::size_t at = 0; at < lost; ++at) {
    if (BPF_CLASS(program[at].code) != BPF_JMP) continue;
    for (std::uint8_t* distance : {&program[at].jt, &program[at].jf}) {
      const std::size_t target = *distance == to_taken ? lost + 1 : lost;
      if (*distance == to_taken || *distance == to_lost)
        *distance = static_cast<std::uint8_t>(target - at - 1);
    }
  }
  return program;
}

}  // namespace oceanid::routing
