#include "tunnel/core/wireguard_go_version.hpp"

#include <algorithm>
#include <charconv>

namespace oceanid::tunnel {
namespace {

constexpr std::string_view program = "wireguard-go ";
constexpr std::string_view release = "0.0.";
constexpr std::size_t day_digits = 8;
constexpr std::size_t longest = 64;
constexpr std::uint32_t first_with_offloads = 20230223;

std::optional<std::uint32_t> day_of(std::string_view text) {
  if (!text.starts_with(release)) return std::nullopt;
  text.remove_prefix(release.size());
  if (text.size() != day_digits) return std::nullopt;
  std::uint32_t day = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), day);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return day;
}

}  // namespace

std::optional<WireguardGoVersion> parse_wireguard_go_version(std::string_view output) {
  output = output.substr(0, output.find_first_of("\r\n"));
  if (!output.starts_with(program)) return std::nullopt;
  output.remove_prefix(program.size());
  if (output.starts_with('v')) output.remove_prefix(1);
  const auto printable = [](char c) { return c > ' ' && c <= '~'; };
  if (output.empty() || output.size() > longest || !std::ranges::all_of(output, printable))
    return std::nullopt;
  return WireguardGoVersion{std::string(output), day_of(output)};
}

bool lacks_offloads(const WireguardGoVersion& version) {
  return version.day && *version.day < first_with_offloads;
}

}  // namespace oceanid::tunnel
