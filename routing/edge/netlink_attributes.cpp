#include "routing/edge/netlink_attributes.hpp"

#include <algorithm>

#include <endian.h>

namespace oceanid::routing {
namespace {

int collect(const nlattr* attribute, void* data) {
  auto& found = *static_cast<std::array<const nlattr*, Attributes::slots>*>(data);
  const std::uint16_t type = mnl_attr_get_type(attribute);
  if (type < Attributes::slots) found[type] = attribute;
  return MNL_CB_OK;
}

}  // namespace

Attributes Attributes::of(const nlmsghdr& message, std::size_t offset) {
  Attributes out;
  if (mnl_nlmsg_get_payload_len(&message) > offset)
    mnl_attr_parse(&message, static_cast<unsigned>(offset), collect, &out.found_);
  return out;
}

Attributes Attributes::nested(std::uint16_t type) const {
  Attributes out;
  if (has(type)) mnl_attr_parse_nested(found_[type], collect, &out.found_);
  return out;
}

std::span<const std::uint8_t> Attributes::bytes(std::uint16_t type) const {
  if (!has(type)) return {};
  return {static_cast<const std::uint8_t*>(mnl_attr_get_payload(found_[type])),
          mnl_attr_get_payload_len(found_[type])};
}

std::optional<std::uint64_t> Attributes::be64(std::uint16_t type) const {
  const auto raw = number<std::uint64_t>(type);
  return raw ? std::optional(be64toh(*raw)) : std::nullopt;
}

std::optional<std::uint32_t> Attributes::be32(std::uint16_t type) const {
  const auto raw = number<std::uint32_t>(type);
  return raw ? std::optional(be32toh(*raw)) : std::nullopt;
}

std::string Attributes::text(std::uint16_t type) const {
  const auto payload = bytes(type);
  return std::string(payload.begin(), std::ranges::find(payload, std::uint8_t{0}));
}

std::optional<IfName> Attributes::interface(std::uint16_t type) const {
  auto name = IfName::parse(text(type));
  return name ? std::optional(std::move(*name)) : std::nullopt;
}

std::optional<IpAddress> Attributes::address(std::uint16_t type, Family family) const {
  if (family == Family::v4) {
    const auto four = number<std::array<std::uint8_t, 4>>(type);
    return four ? std::optional(IpAddress::v4(*four)) : std::nullopt;
  }
  const auto sixteen = number<std::array<std::uint8_t, 16>>(type);
  return sixteen ? std::optional(IpAddress::v6(*sixteen)) : std::nullopt;
}

Prefix network_of(const IpAddress& address, unsigned length) {
  std::array<std::uint8_t, 16> kept{};
  std::ranges::copy(address.bytes(), kept.begin());
  for (unsigned bit = length; bit < address.bits(); ++bit)
    kept[bit / 8] = static_cast<std::uint8_t>(kept[bit / 8] & ~(0x80U >> (bit % 8)));
  const IpAddress base =
      address.is_v4() ? IpAddress::v4({kept[0], kept[1], kept[2], kept[3]}) : IpAddress::v6(kept);
  return Prefix::make(base, std::min(length, address.bits())).value_or(Prefix::host(address));
}

}  // namespace oceanid::routing
