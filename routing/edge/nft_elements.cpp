#include "routing/edge/nft_elements.hpp"

#include "routing/core/model.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <fmt/format.h>

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

namespace oceanid::routing {
namespace {

// An attribute's length has sixteen bits; the list of elements is one attribute of a message.
constexpr std::size_t most_list_bytes = 60'000;
// Of one element of any kind: four nested heads, a key, flags and a timeout.
constexpr std::size_t most_element_bytes = 96;
// The kernel takes a batch in one piece of memory of its own.
constexpr std::size_t most_batch_bytes = 256U << 20;

class Writer {
 public:
  std::vector<std::uint8_t> bytes;

  std::size_t begin_message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence,
                            std::uint8_t family, std::uint16_t resource) {
    const std::size_t at = bytes.size();
    nlmsghdr head{};
    head.nlmsg_type = type;
    head.nlmsg_flags = flags;
    head.nlmsg_seq = sequence;
    append(&head, sizeof(head));
    nfgenmsg general{};
    general.nfgen_family = family;
    general.version = NFNETLINK_V0;
    general.res_id = htons(resource);
    append(&general, sizeof(general));
    return at;
  }
  void end_message(std::size_t at) {
    const auto length = static_cast<std::uint32_t>(bytes.size() - at);
    std::memcpy(bytes.data() + at + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
  }
  void add_flags(std::size_t at, std::uint16_t more) {
    std::uint16_t flags = 0;
    std::uint8_t* place = bytes.data() + at + offsetof(nlmsghdr, nlmsg_flags);
    std::memcpy(&flags, place, sizeof(flags));
    flags = static_cast<std::uint16_t>(flags | more);
    std::memcpy(place, &flags, sizeof(flags));
  }
  std::size_t begin(std::uint16_t type) {
    const std::size_t at = bytes.size();
    const nlattr head{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)};
    append(&head, sizeof(head));
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(bytes.size() - at);
    std::memcpy(bytes.data() + at, &length, sizeof(length));
  }
  void put(std::uint16_t type, const void* value, std::size_t size) {
    const nlattr head{static_cast<std::uint16_t>(sizeof(nlattr) + size), type};
    append(&head, sizeof(head));
    append(value, size);
    bytes.resize((bytes.size() + 3) / 4 * 4);
  }
  void put_text(std::uint16_t type, std::string_view text) {
    put(type, std::string(text).c_str(), text.size() + 1);
  }

 private:
  void append(const void* value, std::size_t size) {
    const auto* from = static_cast<const std::uint8_t*>(value);
    bytes.insert(bytes.end(), from, from + size);
  }
};

// The address behind the last one of the prefix; none: there is no such address.
std::optional<std::array<std::uint8_t, 16>> behind(const Prefix& prefix) {
  std::array<std::uint8_t, 16> out{};
  const auto from = prefix.address().bytes();
  std::ranges::copy(from, out.begin());
  if (prefix.length() == 0) return std::nullopt;
  std::size_t at = (prefix.length() - 1) / 8;
  auto carry = static_cast<unsigned>(0x80U >> ((prefix.length() - 1) % 8));
  while (true) {
    const unsigned sum = out[at] + carry;
    out[at] = static_cast<std::uint8_t>(sum);
    if (sum <= 0xff) return out;
    if (at == 0) return std::nullopt;
    --at;
    carry = 1;
  }
}

class Encoder {
 public:
  Encoder(std::uint32_t first_sequence, std::size_t expected) : sequence_(first_sequence) {
    out_.bytes.reserve(expected);
  }

  void begin(std::optional<std::uint32_t> generation) {
    const std::size_t at = out_.begin_message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, sequence_,
                                              AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    if (generation) {
      const std::uint32_t number = htobe32(*generation);
      out_.put(NFNL_BATCH_GENID, &number, sizeof(number));
    }
    out_.end_message(at);
  }

  void change(const ElementChange& change) {
    for (const Prefix& prefix : change.prefixes) {
      make_room(change);
      element(prefix.address().bytes(), false, {});
      if (const auto end = behind(prefix))
        element(std::span(*end).first(prefix.address().bytes().size()), true, {});
    }
    for (const KeyElement& one : change.keys) {
      make_room(change);
      element(one.key.bytes(), false, one.timeout);
    }
    close();
  }

  ElementBatch finish(std::uint32_t first_sequence) {
    out_.add_flags(last_message_, NLM_F_ACK);
    const std::uint32_t last = sequence_;
    const std::size_t at = out_.begin_message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, ++sequence_,
                                              AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    out_.end_message(at);
    return {std::move(out_.bytes), first_sequence, last};
  }

 private:
  void make_room(const ElementChange& change) {
    if (open_ && out_.bytes.size() - list_ + 2 * most_element_bytes > most_list_bytes) close();
    if (!open_) open(change);
  }
  void open(const ElementChange& change) {
    const bool add = change.action == ElementAction::add;
    const auto type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 |
                                                 (add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM));
    // What is there already is no error and keeps its expiry: changes may be sent again.
    const auto flags = static_cast<std::uint16_t>(NLM_F_REQUEST | (add ? NLM_F_CREATE : 0));
    last_message_ = out_.begin_message(type, flags, ++sequence_, NFPROTO_INET, 0);
    out_.put_text(NFTA_SET_ELEM_LIST_TABLE, nft_table);
    out_.put_text(NFTA_SET_ELEM_LIST_SET, change.set);
    list_ = out_.begin(NFTA_SET_ELEM_LIST_ELEMENTS);
    open_ = true;
  }
  void close() {
    if (!open_) return;
    out_.end(list_);
    out_.end_message(last_message_);
    open_ = false;
  }
  void element(std::span<const std::uint8_t> key, bool interval_end,
               std::chrono::milliseconds timeout) {
    const std::size_t at = out_.begin(NFTA_LIST_ELEM);
    const std::size_t value = out_.begin(NFTA_SET_ELEM_KEY);
    out_.put(NFTA_DATA_VALUE, key.data(), key.size());
    out_.end(value);
    if (interval_end) {
      const std::uint32_t flags = htobe32(NFT_SET_ELEM_INTERVAL_END);
      out_.put(NFTA_SET_ELEM_FLAGS, &flags, sizeof(flags));
    }
    if (timeout.count() > 0) {
      const std::uint64_t milliseconds = htobe64(static_cast<std::uint64_t>(timeout.count()));
      out_.put(NFTA_SET_ELEM_TIMEOUT, &milliseconds, sizeof(milliseconds));
    }
    out_.end(at);
  }

  Writer out_;
  std::uint32_t sequence_;
  std::size_t last_message_ = 0;
  std::size_t list_ = 0;
  bool open_ = false;
};

}  // namespace

Result<ElementBatch> encode_elements(std::span<const ElementChange> changes,
                                     std::optional<std::uint32_t> generation,
                                     std::uint32_t first_sequence) {
  std::size_t expected = 256;
  bool any = false;
  for (const ElementChange& change : changes) {
    any |= !change.prefixes.empty() || !change.keys.empty();
    // Two elements a prefix, of 12 and 20 bytes beside their keys; a message's head every 60 kB.
    const std::size_t address =
        change.prefixes.empty() ? 0 : change.prefixes.front().address().bytes().size();
    expected += change.prefixes.size() * (33 + 2 * address) + change.keys.size() * 84 + 256;
    if (!std::ranges::all_of(change.keys, [](const KeyElement& one) { return one.key.complete(); }))
      return fail(Errc::invalid_argument,
                  fmt::format("an element of set {} has more fields than fit", change.set));
  }
  if (!any) return ElementBatch{};
  if (expected > most_batch_bytes)
    return fail(Errc::limit, "too many set elements for one transaction");
  Encoder encoder(first_sequence, expected);
  encoder.begin(generation);
  for (const ElementChange& change : changes)
    encoder.change(change);
  return encoder.finish(first_sequence);
}

}  // namespace oceanid::routing
