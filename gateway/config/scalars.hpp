#pragma once
// The kinds of single values that the configuration knows (grammar: deploy/CONFIGURATION.md): each
// reads a text, says what it allows, prints a value as the operator would write it, and describes
// itself as JSON Schema. A parse error carries the reason, which may be empty when `allowed` says
// it all.

#include "gateway/base/net_types.hpp"
#include "proxy/core/parent.hpp"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

namespace oceanid::config {

using std::chrono::milliseconds;

template <class T>
using Parsed = std::expected<T, std::string>;

inline std::unexpected<std::string> refuse(std::string reason = {}) {
  return std::unexpected(std::move(reason));
}

template <class Type>
concept Scalar = requires(const Type& type, std::string_view text, typename Type::Value value) {
  { type.parse(text) } -> std::same_as<Parsed<typename Type::Value>>;
  { type.allowed() } -> std::same_as<std::string>;
  { type.show(value) } -> std::same_as<std::string>;
  { type.schema() } -> std::same_as<std::string>;
};

std::string string_schema(std::string_view description);

struct BoolType {
  using Value = bool;
  Parsed<bool> parse(std::string_view text) const;
  std::string allowed() const { return "true or false"; }
  std::string show(bool value) const { return value ? "true" : "false"; }
  std::string schema() const { return R"({"type":"boolean"})"; }
};

// on | off; true and false too, because YAML 1.1 tools rewrite the words.
struct SwitchType {
  using Value = bool;
  Parsed<bool> parse(std::string_view text) const;
  std::string allowed() const { return "on or off"; }
  std::string show(bool value) const { return value ? "on" : "off"; }
  std::string schema() const { return R"({"enum":["on","off",true,false]})"; }
};

Parsed<std::uint64_t> parse_count(std::string_view text, std::uint64_t min, std::uint64_t max);
std::string count_schema(std::uint64_t min, std::uint64_t max);
std::string count_allowed(std::uint64_t min, std::uint64_t max, std::string_view unit);

template <std::unsigned_integral T>
struct CountType {
  using Value = T;
  T min = 0;
  T max = 0;
  std::string_view unit = "";
  Parsed<T> parse(std::string_view text) const {
    const auto value = parse_count(text, min, max);
    if (!value) return refuse(value.error());
    return static_cast<T>(*value);
  }
  std::string allowed() const { return count_allowed(min, max, unit); }
  std::string show(T value) const { return std::to_string(value); }
  std::string schema() const { return count_schema(min, max); }
};

inline constexpr CountType<std::uint16_t> port{1, 65535};

Parsed<milliseconds> parse_duration(std::string_view text, milliseconds min, milliseconds max,
                                    milliseconds step);
std::string duration_allowed(milliseconds min, milliseconds max, milliseconds step);
std::string show_duration(milliseconds value);

template <class D = milliseconds>
struct DurationType {
  using Value = D;
  milliseconds min{1};
  milliseconds max = std::chrono::days(3650);
  milliseconds step{1};
  Parsed<D> parse(std::string_view text) const {
    const auto value = parse_duration(text, min, max, step);
    if (!value) return refuse(value.error());
    return std::chrono::duration_cast<D>(*value);
  }
  std::string allowed() const { return duration_allowed(min, max, step); }
  std::string show(D value) const { return show_duration(value); }
  std::string schema() const { return R"({"type":"string","pattern":"^[0-9]+(ms|s|m|h|d)$"})"; }
};

// 0 stands for auto.
struct WorkersType {
  using Value = std::uint32_t;
  Parsed<std::uint32_t> parse(std::string_view text) const;
  std::string allowed() const { return "auto or a number from 1 to 256"; }
  std::string show(std::uint32_t value) const {
    return value == 0 ? "auto" : std::to_string(value);
  }
  std::string schema() const {
    return R"({"anyOf":[{"const":"auto"},{"type":"integer","minimum":1,"maximum":256}]})";
  }
};

struct MtuType {
  using Value = std::optional<unsigned>;
  Parsed<Value> parse(std::string_view text) const;
  std::string allowed() const { return "auto or a number of bytes from 1200 to 8928"; }
  std::string show(const Value& value) const { return value ? std::to_string(*value) : "auto"; }
  std::string schema() const {
    return R"({"anyOf":[{"const":"auto"},{"type":"integer","minimum":1200,"maximum":8928}]})";
  }
};

struct RateType {  // per second; 0: no limit
  using Value = std::uint32_t;
  Parsed<Value> parse(std::string_view text) const;
  std::string allowed() const { return "a rate such as 50/s"; }
  std::string show(Value value) const { return std::to_string(value) + "/s"; }
  std::string schema() const { return R"({"type":"string","pattern":"^[0-9]+/s$"})"; }
};

struct BandwidthType {  // bit/s; 0: no limit
  using Value = std::uint64_t;
  Parsed<Value> parse(std::string_view text) const;
  std::string allowed() const { return "a bandwidth such as 100Mbit/s (kbit/s, Mbit/s, Gbit/s)"; }
  std::string show(Value value) const;
  std::string schema() const { return R"({"type":"string","pattern":"^[0-9]+[kMG]bit/s$"})"; }
};

struct NameType {
  using Value = std::string;
  std::size_t max = 63;
  Parsed<std::string> parse(std::string_view text) const;
  std::string allowed() const;
  std::string show(const std::string& value) const { return value; }
  std::string schema() const;
};

// Printable text of one line: a path, a program, an account.
struct TextType {
  using Value = std::string;
  std::string_view what = "a text";
  bool absolute = false;  // a path from the root
  Parsed<std::string> parse(std::string_view text) const;
  std::string allowed() const { return std::string(what); }
  std::string show(const std::string& value) const { return value; }
  std::string schema() const { return string_schema(what); }
};

inline constexpr TextType file_path{"the path of a file"};
inline constexpr TextType folder_path{"an absolute path such as /var/lib/oceanid", true};

struct AddressType {
  using Value = IpAddress;
  Parsed<IpAddress> parse(std::string_view text) const;
  std::string allowed() const { return "an IPv4 or IPv6 address"; }
  std::string show(const IpAddress& value) const { return value.to_string(); }
  std::string schema() const { return string_schema(allowed()); }
};

struct PrefixType {
  using Value = Prefix;
  Parsed<Prefix> parse(std::string_view text) const;
  std::string allowed() const { return "an address or a prefix such as 10.42.0.0/16"; }
  std::string show(const Prefix& value) const { return value.to_string(); }
  std::string schema() const { return string_schema(allowed()); }
};

struct BindType {
  using Value = SocketAddress;
  Parsed<SocketAddress> parse(std::string_view text) const;
  std::string allowed() const { return "ADDRESS:PORT such as \"[::]:3128\" or 127.0.0.1:3128"; }
  std::string show(const SocketAddress& value) const { return value.to_string(); }
  std::string schema() const { return string_schema(allowed()); }
};

struct ServerType {  // port 53 when none is given
  using Value = SocketAddress;
  Parsed<SocketAddress> parse(std::string_view text) const;
  std::string allowed() const { return "an address, or ADDRESS:PORT"; }
  std::string show(const SocketAddress& value) const { return value.to_string(); }
  std::string schema() const { return string_schema(allowed()); }
};

struct HostPortType {
  using Value = HostPort;
  Parsed<HostPort> parse(std::string_view text) const;
  std::string allowed() const { return "HOST:PORT such as db.example.net:5432"; }
  std::string show(const HostPort& value) const { return value.to_string(); }
  std::string schema() const { return string_schema(allowed()); }
};

struct IfNameType {
  using Value = IfName;
  Parsed<IfName> parse(std::string_view text) const;
  std::string allowed() const { return "an interface name of up to 15 characters"; }
  std::string show(const IfName& value) const { return value.str(); }
  std::string schema() const { return string_schema(allowed()); }
};

struct MarkType {
  using Value = Mark;
  Parsed<Mark> parse(std::string_view text) const;
  std::string allowed() const {
    return "0xVALUE/0xMASK, the value being the lowest of the mask's bits and the mask four bits "
           "in a "
           "row";
  }
  std::string show(const Mark& value) const { return value.to_string(); }
  std::string schema() const {
    return R"({"type":"string","pattern":"^0x[0-9a-fA-F]+/0x[0-9a-fA-F]+$"})";
  }
};

struct KeyType {
  using Value = std::string;
  Parsed<std::string> parse(std::string_view text) const;
  std::string allowed() const {
    return "a WireGuard public key (32 bytes in base64: 43 characters and =)";
  }
  std::string show(const std::string& value) const { return value; }
  std::string schema() const { return R"({"type":"string","pattern":"^[A-Za-z0-9+/]{43}=$"})"; }
};

struct UrlType {
  using Value = std::string;
  std::string_view example = "http://host:port/path";
  bool bare = false;  // [user:password@]host:port only, over http
  Parsed<std::string> parse(std::string_view text) const;
  std::string allowed() const { return "a URL such as " + std::string(example); }
  std::string show(const std::string& value) const { return value; }
  std::string schema() const { return string_schema(allowed()); }
};

// proxy/core/parent.hpp. Shown without user and password.
struct ParentType {
  using Value = proxy::ParentProxy;
  Parsed<proxy::ParentProxy> parse(std::string_view text) const;
  std::string allowed() const {
    return "a URL such as http://user:password@proxy.example.net:3128";
  }
  std::string show(const proxy::ParentProxy& value) const {
    return "http://" + value.at.to_string();
  }
  std::string schema() const { return string_schema(allowed()); }
};

struct HostNameType {
  using Value = std::string;
  Parsed<std::string> parse(std::string_view text) const;
  std::string allowed() const { return "a host name"; }
  std::string show(const std::string& value) const { return value; }
  std::string schema() const { return string_schema(allowed()); }
};

// What a role allows or denies (proxy/core/rule.hpp).
struct DestinationType {
  using Value = std::string;
  Parsed<std::string> parse(std::string_view text) const;
  std::string allowed() const {
    return "a host, *.domain, *, an address or a prefix, with :PORTS behind it when only some are "
           "meant (443 or 443,8000-8099)";
  }
  std::string show(const std::string& value) const { return value; }
  std::string schema() const { return string_schema(allowed()); }
};

template <class E>
struct Choice {
  std::string_view text;
  E value;
  bool later = false;  // valid, but not in this version
};

template <class E>
struct EnumType {
  using Value = E;
  std::span<const Choice<E>> choices;
  Parsed<E> parse(std::string_view text) const {
    for (const Choice<E>& choice : choices)
      if (choice.text == text) return choice.value;
    return refuse();
  }
  std::string allowed() const {
    std::string out;
    for (const Choice<E>& choice : choices) {
      if (!out.empty()) out += &choice == &choices.back() ? " or " : ", ";
      out += choice.text;
    }
    return out;
  }
  std::string show(E value) const {
    for (const Choice<E>& choice : choices)
      if (choice.value == value) return std::string(choice.text);
    return {};
  }
  std::string schema() const {
    std::string out;
    for (const Choice<E>& choice : choices)
      out += (out.empty() ? "\"" : ",\"") + std::string(choice.text) + "\"";
    return R"({"enum":[)" + out + "]}";
  }
};

// A host name by its labels; what looks like an IPv4 address but is none is refused.
bool is_host_name(std::string_view text);

}  // namespace oceanid::config
