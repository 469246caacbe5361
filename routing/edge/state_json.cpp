// A network state as JSON, version 1. Values are written as the configuration writes them, so that
// a person can read the file; reading goes through the same strict parsers.

#include "routing/edge/state_files.hpp"

#include <limits>

#include <boost/json.hpp>
#include <boost/system/error_code.hpp>
#include <fmt/format.h>

namespace oceanid::routing {
namespace {

namespace json = boost::json;
constexpr int format_version = 1;

template <typename T>
void put(json::object& out, std::string_view key, const std::optional<T>& value) {
  if (value) out[key] = value->to_string();
}
void put(json::object& out, std::string_view key, const std::optional<IfName>& value) {
  if (value) out[key] = value->str();
}
template <typename T>
void put_number(json::object& out, std::string_view key, const std::optional<T>& value) {
  if (value) out[key] = static_cast<std::uint64_t>(*value);
}

struct PutAction {
  json::object& out;
  void operator()(const Lookup& action) const {
    out["lookup"] = action.table;
    if (action.specific) out["specific"] = true;
  }
  void operator()(const Goto& action) const { out["goto"] = action.priority; }
  void operator()(const Nop&) const { out["nop"] = true; }
  void operator()(const Unreachable&) const { out["unreachable"] = true; }
  void operator()(const Blackhole&) const { out["blackhole"] = true; }
};

json::object encode(const Rule& rule) {
  json::object out;
  out["family"] = to_string(rule.family);
  out["priority"] = rule.priority;
  put(out, "from", rule.from);
  put(out, "to", rule.to);
  put(out, "iif", rule.iif);
  put(out, "oif", rule.oif);
  put(out, "mark", rule.mark);
  put_number(out, "protocol", rule.ip_protocol);
  put_number(out, "port", rule.destination_port);
  std::visit(PutAction{out}, rule.action);
  return out;
}

json::object encode(const Route& route) {
  json::object out;
  out["destination"] = route.destination.to_string();
  out["table"] = route.table;
  out["type"] = static_cast<unsigned>(route.type);
  out["metric"] = route.metric;
  put(out, "device", route.device);
  put(out, "gateway", route.gateway);
  out["onlink"] = route.on_link;
  put_number(out, "mtu", route.mtu);
  put(out, "source", route.source);
  return out;
}

json::object encode(const LinkState& link) {
  json::array addresses;
  for (const InterfaceAddress& address : link.addresses)
    addresses.emplace_back(address.to_string());
  return {{"name", link.name.str()}, {"mtu", link.mtu}, {"addresses", std::move(addresses)}};
}

// Elements in one text: a value of its own for each would take fifty times its bytes.
json::object encode(const NamedSet& set) {
  std::string elements;
  for (const Prefix& prefix : set.prefixes)
    elements += (elements.empty() ? "" : " ") + element_text(prefix);
  return {{"name", set.name}, {"family", to_string(set.family)}, {"elements", std::move(elements)}};
}

json::object encode(const Sysctl& sysctl) {
  return {{"path", sysctl.path}, {"value", sysctl.value}, {"required", sysctl.required}};
}

template <typename T>
json::array encode_all(const std::vector<T>& values) {
  json::array out;
  for (const T& value : values)
    out.emplace_back(encode(value));
  return out;
}

// Reads the members of one object; the first thing that is wrong is kept and fails the whole file.
class Reader {
 public:
  Reader(const json::object& object, std::optional<std::string>& problem)
      : object_(object), problem_(problem) {}

  std::uint64_t number(std::string_view key, std::uint64_t most) {
    const json::value* value = object_.if_contains(key);
    if (value && value->is_int64() && value->get_int64() >= 0 &&
        static_cast<std::uint64_t>(value->get_int64()) <= most)
      return static_cast<std::uint64_t>(value->get_int64());
    note(key);
    return 0;
  }
  template <typename T>
  void optional_number(std::string_view key, std::optional<T>& out) {
    if (object_.contains(key)) out = static_cast<T>(number(key, std::numeric_limits<T>::max()));
  }
  std::string text(std::string_view key) {
    const json::value* value = object_.if_contains(key);
    if (value && value->is_string()) return std::string(value->get_string());
    note(key);
    return {};
  }
  bool flag(std::string_view key) {
    const json::value* value = object_.if_contains(key);
    if (value && value->is_bool()) return value->get_bool();
    note(key);
    return false;
  }
  bool has(std::string_view key) const { return object_.contains(key); }
  template <typename T>
  T parsed(std::string_view key) {
    auto value = T::parse(text(key));
    if (value) return std::move(*value);
    note(key);
    return T{};
  }
  template <typename T>
  void optional(std::string_view key, std::optional<T>& out) {
    if (object_.contains(key)) out = parsed<T>(key);
  }
  const json::array& array(std::string_view key) {
    static const json::array none;
    const json::value* value = object_.if_contains(key);
    if (value && value->is_array()) return value->get_array();
    note(key);
    return none;
  }
  void note(std::string_view key) {
    if (!problem_) problem_ = fmt::format("\"{}\" is missing or wrong", key);
  }

 private:
  const json::object& object_;
  std::optional<std::string>& problem_;
};

constexpr std::uint64_t most_u32 = 0xffffffff;

RuleAction decode_action(Reader& in) {
  if (in.has("lookup"))
    return Lookup{static_cast<std::uint32_t>(in.number("lookup", most_u32)),
                  in.has("specific") && in.flag("specific")};
  if (in.has("goto")) return Goto{static_cast<std::uint32_t>(in.number("goto", most_u32))};
  if (in.has("nop")) return Nop{};
  if (in.has("unreachable")) return Unreachable{};
  if (in.has("blackhole")) return Blackhole{};
  in.note("lookup");
  return Unreachable{};
}

void decode(Reader& in, Rule& rule) {
  rule.family = in.text("family") == to_string(Family::v6) ? Family::v6 : Family::v4;
  rule.priority = static_cast<std::uint32_t>(in.number("priority", most_u32));
  in.optional("from", rule.from);
  in.optional("to", rule.to);
  in.optional("iif", rule.iif);
  in.optional("oif", rule.oif);
  in.optional("mark", rule.mark);
  in.optional_number("protocol", rule.ip_protocol);
  in.optional_number("port", rule.destination_port);
  rule.action = decode_action(in);
}

void decode(Reader& in, Route& route) {
  route.destination = in.parsed<Prefix>("destination");
  route.family = route.destination.family();
  route.table = static_cast<std::uint32_t>(in.number("table", most_u32));
  route.type = static_cast<RouteType>(in.number("type", 3));
  route.metric = static_cast<std::uint32_t>(in.number("metric", most_u32));
  in.optional("device", route.device);
  in.optional("gateway", route.gateway);
  route.on_link = in.flag("onlink");
  in.optional_number("mtu", route.mtu);
  in.optional("source", route.source);
}

void decode(Reader& in, LinkState& link) {
  link.name = in.parsed<IfName>("name");
  link.mtu = static_cast<unsigned>(in.number("mtu", most_u32));
  for (const json::value& value : in.array("addresses")) {
    const std::string text = value.is_string() ? std::string(value.get_string()) : std::string();
    const auto slash = text.find('/');
    const auto address = IpAddress::parse(text.substr(0, slash));
    const auto length = slash == std::string::npos
                            ? std::nullopt
                            : parse_decimal(std::string_view(text).substr(slash + 1), 128);
    if (!address || !length || *length > address->bits())
      in.note("addresses");
    else
      link.addresses.push_back(InterfaceAddress{*address, static_cast<unsigned>(*length)});
  }
}

void decode(Reader& in, NamedSet& set) {
  set.name = in.text("name");
  set.family = in.text("family") == to_string(Family::v6) ? Family::v6 : Family::v4;
  const std::string elements = in.text("elements");
  std::vector<Prefix> prefixes;
  for (std::string_view rest = elements; !rest.empty();) {
    const std::size_t length = std::min(rest.find(' '), rest.size());
    if (auto prefix = Prefix::parse(rest.substr(0, length)); prefix)
      prefixes.push_back(*prefix);
    else
      in.note("elements");
    rest.remove_prefix(std::min(length + 1, rest.size()));
  }
  set.prefixes = std::move(prefixes);
}

void decode(Reader& in, Sysctl& sysctl) {
  sysctl = Sysctl{in.text("path"), in.text("value"), in.flag("required")};
}

template <typename T>
void decode_all(Reader& in, std::string_view key, std::vector<T>& out,
                std::optional<std::string>& problem) {
  for (const json::value& value : in.array(key)) {
    if (!value.is_object()) {
      in.note(key);
      return;
    }
    Reader element(value.get_object(), problem);
    decode(element, out.emplace_back());
  }
}

}  // namespace

std::string encode_state(const NetworkState& state) {
  const json::object out{{"version", format_version},
                         {"links", encode_all(state.links)},
                         {"rules", encode_all(state.rules)},
                         {"routes", encode_all(state.routes)},
                         {"nft", state.nft.text},
                         {"sets", encode_all(state.nft.sets)},
                         {"sysctls", encode_all(state.sysctls)}};
  return json::serialize(out) + "\n";
}

Result<NetworkState> decode_state(std::string_view text) {
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error) return fail(Errc::protocol, "no JSON: " + error.message());
  if (!root.is_object()) return fail(Errc::protocol, "no JSON object");
  std::optional<std::string> problem;
  Reader in(root.get_object(), problem);
  if (in.number("version", most_u32) != format_version)
    return fail(Errc::unsupported, "the file was written by another version");
  NetworkState out;
  decode_all(in, "links", out.links, problem);
  decode_all(in, "rules", out.rules, problem);
  decode_all(in, "routes", out.routes, problem);
  decode_all(in, "sysctls", out.sysctls, problem);
  out.nft.text = in.text("nft");
  // The text of an older file has the elements inside.
  if (in.has("sets")) decode_all(in, "sets", out.nft.sets, problem);
  if (problem) return fail(Errc::protocol, *problem);
  return out;
}

}  // namespace oceanid::routing
