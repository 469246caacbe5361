#include "gateway/ipc/packet_codec.hpp"

#include <algorithm>
#include <cmath>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace oceanid::ipc {
namespace {

boost::json::parse_options strict_options() {
  boost::json::parse_options options;
  options.max_depth = 16;
  return options;
}

// The parser reads 1e350 as infinity, which no JSON can say again: kept, it would spoil every
// document that it goes into, the status first of all.
bool finite(const boost::json::value& value) {
  if (const auto* number = value.if_double()) return std::isfinite(*number);
  if (const auto* array = value.if_array()) return std::ranges::all_of(*array, finite);
  const auto* object = value.if_object();
  return object == nullptr ||
         std::ranges::all_of(*object, [](const auto& member) { return finite(member.value()); });
}

Result<boost::json::value> parse(std::string_view text, std::string_view otherwise) {
  boost::system::error_code ec;
  auto value = boost::json::parse(text, ec, {}, strict_options());
  if (ec || !finite(value)) return fail(Errc::protocol, std::string(otherwise));
  return value;
}

}  // namespace

std::string encode_packet(std::string_view type, const boost::json::value& body) {
  return boost::json::serialize(boost::json::value{{"type", type}, {"body", body}});
}

std::string encode_large_packet(std::string_view type) {
  return boost::json::serialize(boost::json::value{{"type", type}, {"memfd", true}});
}

std::string encode_large_body(const boost::json::value& body) {
  return boost::json::serialize(body);
}

Result<PacketText> decode_packet(std::string_view text) {
  constexpr std::string_view no_frame = "a message that is not a frame from the other process";
  auto value = parse(text, no_frame);
  if (!value) return std::unexpected(std::move(value.error()));
  auto* object = value->if_object();
  const auto* type = object == nullptr ? nullptr : object->if_contains("type");
  if (type == nullptr || !type->is_string()) return fail(Errc::protocol, std::string(no_frame));
  PacketText out;
  out.type = type->get_string().c_str();
  out.large = object->contains("memfd");
  if (auto* body = out.large ? nullptr : object->if_contains("body")) out.body = std::move(*body);
  return out;
}

Result<boost::json::value> decode_large_body(std::string_view text) {
  return parse(text, "a message body that is not JSON");
}

}  // namespace oceanid::ipc
