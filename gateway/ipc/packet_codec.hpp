#pragma once
// The text of one datagram between netd and a child: a JSON object with a type and a body, or with
// the word that the body is in the memfd beside it. Pure: descriptors are the channel's affair.
// Errc::protocol for whatever a hostile peer may say instead.

#include "gateway/base/error.hpp"

#include <string>
#include <string_view>

#include <boost/json/value.hpp>

namespace oceanid::ipc {

struct PacketText {
  std::string type;
  boost::json::value body;
  bool large = false;  // the body travels apart
};

std::string encode_packet(std::string_view type, const boost::json::value& body);
std::string encode_large_packet(std::string_view type);
std::string encode_large_body(const boost::json::value& body);

Result<PacketText> decode_packet(std::string_view text);
Result<boost::json::value> decode_large_body(std::string_view text);

}  // namespace oceanid::ipc
