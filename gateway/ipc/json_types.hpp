#pragma once
// JSON forms of the base types for messages between our own processes and for machine-readable
// output. Addresses, prefixes and names are strings in their canonical spelling; decoding validates
// them again, because a worker is less trusted than netd.

#include "gateway/base/error.hpp"
#include "gateway/base/exit.hpp"
#include "gateway/base/net_types.hpp"

#include <chrono>
#include <string>
#include <string_view>

#include <boost/describe/class.hpp>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>

namespace oceanid {

inline void tag_invoke(boost::json::value_from_tag, boost::json::value& out, const IpAddress& v) {
  out = v.to_string();
}
inline void tag_invoke(boost::json::value_from_tag, boost::json::value& out, const IfName& v) {
  out = v.str();
}
inline void tag_invoke(boost::json::value_from_tag, boost::json::value& out,
                       const SocketAddress& v) {
  out = v.to_string();
}

inline void tag_invoke(boost::json::value_from_tag, boost::json::value& out, const Prefix& v) {
  out = v.to_string();
}

namespace json_detail {
inline boost::system::error_code bad_value() {
  return make_error_code(boost::system::errc::invalid_argument);
}
inline std::string_view text_of(const boost::json::value& value) {
  const auto* text = value.if_string();
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}
}  // namespace json_detail

inline boost::json::result<IpAddress> tag_invoke(boost::json::try_value_to_tag<IpAddress>,
                                                 const boost::json::value& in) {
  if (const auto parsed = IpAddress::parse(json_detail::text_of(in))) return *parsed;
  return json_detail::bad_value();
}
inline boost::json::result<IfName> tag_invoke(boost::json::try_value_to_tag<IfName>,
                                              const boost::json::value& in) {
  if (const auto parsed = IfName::parse(json_detail::text_of(in))) return *parsed;
  return json_detail::bad_value();
}
inline boost::json::result<SocketAddress> tag_invoke(boost::json::try_value_to_tag<SocketAddress>,
                                                     const boost::json::value& in) {
  if (const auto parsed = SocketAddress::parse(json_detail::text_of(in))) return *parsed;
  return json_detail::bad_value();
}

inline boost::json::result<Prefix> tag_invoke(boost::json::try_value_to_tag<Prefix>,
                                              const boost::json::value& in) {
  if (const auto parsed = Prefix::parse(json_detail::text_of(in))) return *parsed;
  return json_detail::bad_value();
}

BOOST_DESCRIBE_STRUCT(ExitState, (), (name, device, usable, reserve, ipv4, ipv6, addresses, reason))
BOOST_DESCRIBE_STRUCT(ExitTable, (), (exits, active))

namespace ipc {

template <typename T>
Result<T> decode(const boost::json::value& value, std::string_view what) {
  auto decoded = boost::json::try_value_to<T>(value);
  if (!decoded) return fail(Errc::protocol, std::string(what) + ": " + decoded.error().message());
  return std::move(*decoded);
}

}  // namespace ipc
}  // namespace oceanid
