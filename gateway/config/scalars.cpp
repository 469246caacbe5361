#include "gateway/config/scalars.hpp"

#include "gateway/base/json_text.hpp"
#include "proxy/core/rule.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 5> duration_units{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<Unit, 3> bandwidth_units{
    {{"kbit/s", 1000}, {"Mbit/s", 1'000'000}, {"Gbit/s", 1'000'000'000}}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::pair<std::string_view, std::string_view> split_number(std::string_view text) {
  const auto end =
      static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  return {text.substr(0, end), text.substr(end)};
}

// number + unit, in the smallest unit; the reason when it is not.
Parsed<std::uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units,
                                      std::uint64_t max) {
  const auto [digits, suffix] = split_number(text);
  const auto number = parse_decimal(digits, UINT64_MAX);
  if (!number) return refuse();
  if (suffix.empty()) return refuse("the unit is missing");
  const auto unit = std::ranges::find(units, suffix, &Unit::name);
  if (unit == units.end()) return refuse();
  if (*number > max / unit->factor) return refuse("out of range");
  return *number * unit->factor;
}

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label, [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                  c == '_';
         });
}

bool is_host(std::string_view text) {
  return IpAddress::parse(text) || is_host_name(text);
}

}  // namespace

std::string string_schema(std::string_view description) {
  std::string out = R"({"type":"string","title":)";
  append_json_string(out, description);
  return out + "}";
}

Parsed<bool> BoolType::parse(std::string_view text) const {
  if (text == "true") return true;
  if (text == "false") return false;
  return refuse();
}

Parsed<bool> SwitchType::parse(std::string_view text) const {
  if (text == "on" || text == "true") return true;
  if (text == "off" || text == "false") return false;
  return refuse();
}

Parsed<std::uint64_t> parse_count(std::string_view text, std::uint64_t min, std::uint64_t max) {
  const auto value = parse_decimal(text, max);
  if (!value || *value < min) return refuse();
  return *value;
}

std::string count_schema(std::uint64_t min, std::uint64_t max) {
  return fmt::format(R"({{"type":"integer","minimum":{},"maximum":{}}})", min, max);
}

std::string count_allowed(std::uint64_t min, std::uint64_t max, std::string_view unit) {
  return fmt::format("a number{}{} from {} to {}", unit.empty() ? "" : " of ", unit, min, max);
}

Parsed<milliseconds> parse_duration(std::string_view text, milliseconds min, milliseconds max,
                                    milliseconds step) {
  const auto value = parse_with_unit(text, duration_units, INT64_MAX);
  if (!value) return refuse(value.error());
  const milliseconds out(static_cast<std::int64_t>(*value));
  if (out < min || out > max || out % step != milliseconds(0)) return refuse("out of range");
  return out;
}

std::string duration_allowed(milliseconds min, milliseconds max, milliseconds step) {
  std::string out = fmt::format("a duration with its unit (ms, s, m, h, d) from {} to {}",
                                show_duration(min), show_duration(max));
  if (step > milliseconds(1)) out += fmt::format(" in steps of {}", show_duration(step));
  return out;
}

std::string show_duration(milliseconds value) {
  const auto count = static_cast<std::uint64_t>(value.count());
  if (count == 0) return "0s";
  for (std::size_t i = duration_units.size(); i-- > 0;)
    if (count % duration_units[i].factor == 0)
      return fmt::format("{}{}", count / duration_units[i].factor, duration_units[i].name);
  return {};
}

Parsed<std::uint32_t> WorkersType::parse(std::string_view text) const {
  if (text == "auto") return 0;
  const auto value = parse_count(text, 1, 256);
  if (!value) return refuse();
  return static_cast<std::uint32_t>(*value);
}

Parsed<MtuType::Value> MtuType::parse(std::string_view text) const {
  if (text == "auto") return std::nullopt;
  const auto value = parse_count(text, 1200, 8928);
  if (!value) return refuse();
  return static_cast<unsigned>(*value);
}

Parsed<RateType::Value> RateType::parse(std::string_view text) const {
  constexpr std::array<Unit, 1> per_second{{{"/s", 1}}};
  const auto value = parse_with_unit(text, per_second, UINT32_MAX);
  if (!value) return refuse(value.error());
  return static_cast<std::uint32_t>(*value);
}

Parsed<BandwidthType::Value> BandwidthType::parse(std::string_view text) const {
  return parse_with_unit(text, bandwidth_units, UINT64_MAX);
}

std::string BandwidthType::show(Value value) const {
  for (std::size_t i = bandwidth_units.size(); i-- > 0;)
    if (value % bandwidth_units[i].factor == 0 && (value != 0 || i == 0))
      return fmt::format("{}{}", value / bandwidth_units[i].factor, bandwidth_units[i].name);
  return fmt::format("{}bit/s", value);
}

Parsed<std::string> NameType::parse(std::string_view text) const {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-'; };
  if (text.empty() || text.size() > max || !std::ranges::all_of(text, good)) return refuse();
  return std::string(text);
}

std::string NameType::allowed() const {
  return fmt::format("a name of 1 to {} characters out of a-z, 0-9 and -", max);
}

std::string NameType::schema() const {
  return fmt::format(R"({{"type":"string","pattern":"^[a-z0-9-]{{1,{}}}$"}})", max);
}

Parsed<std::string> TextType::parse(std::string_view text) const {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; };
  if (text.empty() || text.size() > 4096 || std::ranges::any_of(text, control)) return refuse();
  if (absolute && text.front() != '/') return refuse();
  return std::string(text);
}

Parsed<IpAddress> AddressType::parse(std::string_view text) const {
  const auto address = IpAddress::parse(text);
  if (!address) return refuse();
  return *address;
}

Parsed<Prefix> PrefixType::parse(std::string_view text) const {
  auto prefix = Prefix::parse(text);
  if (prefix) return *prefix;
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address || slash == std::string_view::npos) return refuse();
  const auto length = parse_decimal(text.substr(slash + 1), address->bits());
  if (!length) return refuse();
  // The words of parse() quote what was found, and could be anything; those of make() are its own.
  constexpr std::string_view hint = "the prefix is ";
  const std::string why = Prefix::make(*address, static_cast<unsigned>(*length)).error().what;
  return refuse("host bits are set, " + why.substr(std::min(why.find(hint), why.size())));
}

Parsed<SocketAddress> BindType::parse(std::string_view text) const {
  const auto address = SocketAddress::parse(text);
  if (!address) return refuse();
  return *address;
}

Parsed<SocketAddress> ServerType::parse(std::string_view text) const {
  if (const auto bare = IpAddress::parse(text)) return SocketAddress{*bare, 53};
  const auto address = SocketAddress::parse(text);
  if (!address) return refuse();
  return *address;
}

Parsed<HostPort> HostPortType::parse(std::string_view text) const {
  const auto target = HostPort::parse(text);
  if (!target || !is_host(target->host)) return refuse();
  return *target;
}

Parsed<IfName> IfNameType::parse(std::string_view text) const {
  const auto name = IfName::parse(text);
  if (!name) return refuse();
  return *name;
}

Parsed<Mark> MarkType::parse(std::string_view text) const {
  const auto mark = Mark::parse(text);
  if (!mark || mark->value == 0 || !text.contains('/')) return refuse();
  // value is the unit: 1 exempt, 2 intercepted, 4 tunnel underlay, 8 in reserve.
  if ((mark->value & (mark->value - 1)) != 0 || mark->value > (1U << 28)) return refuse();
  if (mark->mask != mark->value * 15U) return refuse();
  if ((mark->mask & 0x00ff0000U) != 0) return refuse("0x00ff0000 belongs to Tailscale");
  if ((mark->mask & 0x0000c000U) != 0) return refuse("0x0000c000 belongs to kube-proxy");
  return *mark;
}

Parsed<std::string> KeyType::parse(std::string_view text) const {
  constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() != 44 || text.back() != '=') return refuse();
  const std::string_view digits = text.substr(0, 43);
  if (digits.find_first_not_of(alphabet) != std::string_view::npos) return refuse();
  // 43 digits carry 258 bits: the last two must be zero, or two texts would mean one key.
  if (alphabet.find(digits.back()) % 4 != 0) return refuse("its last character carries stray bits");
  if (digits.find_first_not_of('A') == std::string_view::npos) return refuse("all zero");
  return std::string(text);
}

Parsed<std::string> UrlType::parse(std::string_view text) const {
  const bool secure = text.starts_with("https://");
  if ((!secure && !text.starts_with("http://")) || (secure && bare)) return refuse();
  const auto bad = [](char c) { return c <= ' ' || c > '~' || c == '"' || c == '\\'; };
  if (text.size() > 2048 || std::ranges::any_of(text, bad)) return refuse();
  std::string_view rest = text.substr(secure ? 8 : 7);
  const auto end = rest.find_first_of("/?#");
  if (bare && end != std::string_view::npos) return refuse();
  rest = rest.substr(0, end);
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) rest.remove_prefix(at + 1);
  const auto with_port = HostPort::parse(rest);
  const bool good = with_port ? is_host(with_port->host) : !bare && is_host(rest);
  if (!good) return refuse();
  return std::string(text);
}

Parsed<proxy::ParentProxy> ParentType::parse(std::string_view text) const {
  auto parent = proxy::parse_parent(text);
  if (!parent) return refuse(std::move(parent.error().what));
  return std::move(*parent);
}

Parsed<std::string> HostNameType::parse(std::string_view text) const {
  if (!is_host_name(text)) return refuse();
  return std::string(text);
}

Parsed<std::string> DestinationType::parse(std::string_view text) const {
  const auto rule = proxy::parse_rule(text);
  if (!rule) return refuse(rule.error().what);
  return std::string(text);
}

bool is_host_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > 253) return false;
  std::string_view last;
  while (true) {
    const auto dot = text.find('.');
    last = text.substr(0, dot);
    if (!is_label(last)) return false;
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  // RFC 3696 section 2: a top-level domain is not all digits, so 10.0.0.256 is no name.
  return !std::ranges::all_of(last, is_digit);
}

}  // namespace oceanid::config
