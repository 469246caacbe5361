#include "proxy/core/host_names.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace oceanid::proxy {
namespace {

constexpr std::size_t most_servers = 3;  // MAXNS in the C library: nobody here ever asks a fourth
constexpr std::size_t most_search = 32;  // what Kubernetes allows
constexpr unsigned most_ndots = 15;      // RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY
constexpr unsigned longest_timeout = 30;
constexpr unsigned most_attempts = 5;
constexpr std::size_t longest_name = 253;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
  return out;
}

std::string_view without_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

std::vector<std::string_view> words(std::string_view line) {
  constexpr std::string_view blank = " \t\r\v\f";
  std::vector<std::string_view> out;
  for (;;) {
    const auto begin = line.find_first_not_of(blank);
    if (begin == std::string_view::npos) return out;
    line.remove_prefix(begin);
    const auto end = std::min(line.find_first_of(blank), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

template <class Each>
void each_line(std::string_view text, Each each) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    each(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// "ndots:5" for "ndots"; clamped as the C library does.
std::optional<unsigned> option(std::string_view word, std::string_view name, unsigned least,
                               unsigned most) {
  if (!word.starts_with(name) || word.size() <= name.size() || word[name.size()] != ':')
    return std::nullopt;
  word.remove_prefix(name.size() + 1);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(word.begin(), word.end(), value);
  if (error != std::errc() || end != word.end()) return std::nullopt;
  return std::clamp(value, least, most);
}

void read_option(std::string_view word, ResolvConf& out) {
  if (const auto ndots = option(word, "ndots", 0, most_ndots)) out.ndots = *ndots;
  if (const auto timeout = option(word, "timeout", 1, longest_timeout))
    out.timeout = std::chrono::seconds(*timeout);
  if (const auto attempts = option(word, "attempts", 1, most_attempts))
    out.attempts = static_cast<int>(*attempts);
  if (word == "rotate") out.rotate = true;
}

void add_domain(std::string_view word, ResolvConf& out) {
  const std::string_view domain = without_dot(word);
  if (!domain.empty() && domain.size() <= longest_name && out.search.size() < most_search)
    out.search.push_back(lower(domain));
}

}  // namespace

ResolvConf read_resolv_conf(std::string_view text, std::string_view host_name) {
  ResolvConf out;
  bool searches = false;
  each_line(text, [&](std::string_view line) {
    if (line.starts_with('#') || line.starts_with(';')) return;
    const auto parts = words(line);
    if (parts.size() < 2) return;
    const std::string_view key = parts.front();
    if (key == "nameserver") {
      const auto address = IpAddress::parse(parts[1]);
      if (address && out.servers.size() < most_servers) out.servers.push_back({*address, 53});
    } else if (key == "search" || key == "domain") {  // the last of them counts
      searches = true;
      out.search.clear();
      for (std::size_t i = 1; i < (key == "domain" ? 2 : parts.size()); ++i)
        add_domain(parts[i], out);
    } else if (key == "options") {
      for (std::size_t i = 1; i < parts.size(); ++i)
        read_option(parts[i], out);
    }
  });
  const auto dot = host_name.find('.');
  if (!searches && dot != std::string_view::npos) add_domain(host_name.substr(dot + 1), out);
  return out;
}

std::vector<std::string> search_candidates(std::string_view name, const ResolvConf& conf) {
  if (name.ends_with('.')) return {std::string(without_dot(name))};
  const bool as_it_is_first = std::cmp_greater_equal(std::ranges::count(name, '.'), conf.ndots);
  std::vector<std::string> out;
  if (as_it_is_first) out.emplace_back(name);
  for (const std::string& domain : conf.search)
    if (name.size() + 1 + domain.size() <= longest_name)
      out.push_back(std::string(name) + "." + domain);
  if (!as_it_is_first) out.emplace_back(name);
  return out;
}

HostsFile HostsFile::read(std::string_view text) {
  HostsFile out;
  each_line(text, [&](std::string_view line) {
    const auto parts = words(line.substr(0, line.find('#')));
    if (parts.empty()) return;
    const auto parsed = IpAddress::parse(parts.front());
    if (!parsed) return;
    const IpAddress address = unmapped(*parsed);
    for (std::size_t i = 1; i < parts.size(); ++i) {
      auto& known = out.names_[lower(without_dot(parts[i]))];
      if (std::ranges::find(known, address) != known.end()) continue;
      known.insert(address.is_v4() ? known.end() : std::ranges::find_if(known, &IpAddress::is_v4),
                   address);
    }
  });
  return out;
}

std::vector<IpAddress> HostsFile::find(std::string_view name) const {
  const std::string key = lower(without_dot(name));
  if (const auto found = names_.find(key); found != names_.end()) return found->second;
  if (key == "localhost" || key.ends_with(".localhost"))
    return {IpAddress::parse("::1").value(), IpAddress::parse("127.0.0.1").value()};
  return {};
}

}  // namespace oceanid::proxy
