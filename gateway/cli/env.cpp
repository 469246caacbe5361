// `oceanid env`: the environment block that makes ordinary programs use the proxy. Runtimes read
// NO_PROXY differently (kubernetes#23003, kind#689): curl before 7.86, Java and Node know no CIDR,
// Python's requests and Go do; a leading dot means "subdomains" to curl and Python and is
// understood by Go and Node. So names are given with a leading dot, networks as CIDR, and single
// addresses for what pods reach by address.

#include "gateway/cli/commands.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace oceanid::cli {
namespace {

constexpr const char* default_proxy_url = "http://egress-gateway.egress-system:3128";

std::vector<std::string> no_proxy_entries(const Config& config) {
  std::vector<std::string> out = {"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local"};
  const auto add = [&](const std::string& text) {
    if (std::ranges::find(out, text) == out.end()) out.push_back(text);
  };
  if (config.routing) {
    for (const auto& prefix : config.routing->sources)
      add(prefix.to_string());
    for (const auto& prefix : config.routing->bypass)
      add(prefix.to_string());
  } else {
    for (const auto* prefix : {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"})
      add(prefix);
  }
  // The API server's usual service address, for runtimes without CIDR support.
  add("10.43.0.1");
  return out;
}

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts)
    out += (out.empty() ? "" : ",") + part;
  return out;
}

}  // namespace

int print_env(const Options& options) {
  const auto config = load_or_complain(options);
  if (!config) return exit_usage;
  const std::string url = options.proxy_url.empty() ? default_proxy_url : options.proxy_url;
  const std::string no_proxy = join(no_proxy_entries(*config));
  // Both spellings: curl reads only lower-case http_proxy (CGI safety), Java tools often only upper
  // case.
  for (const auto* name : {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"})
    fmt::print("{}", options.kubernetes ? fmt::format("- name: {}\n  value: \"{}\"\n", name, url)
                                        : fmt::format("export {}='{}'\n", name, url));
  for (const auto* name : {"NO_PROXY", "no_proxy"})
    fmt::print("{}", options.kubernetes
                         ? fmt::format("- name: {}\n  value: \"{}\"\n", name, no_proxy)
                         : fmt::format("export {}='{}'\n", name, no_proxy));
  // Node's built-in fetch looks at the variables above only with this one set (Node 24 and later).
  fmt::print("{}", options.kubernetes ? "- name: NODE_USE_ENV_PROXY\n  value: \"1\"\n"
                                      : "export NODE_USE_ENV_PROXY=1\n");
  return exit_ok;
}

}  // namespace oceanid::cli
