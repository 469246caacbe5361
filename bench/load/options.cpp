#include "bench/load/options.hpp"

#include <array>
#include <limits>
#include <utility>

namespace oceanid::bench {

const std::string_view kUsage =
    "usage: oceanid-load target  [--ports 8]\n"
    "       oceanid-load rate    ROUTE [--tunnels 64] TIME\n"
    "       oceanid-load latency ROUTE [--tunnels 1] [--http yes|no] TIME\n"
    "       oceanid-load bulk    ROUTE [--tunnels 1] [--direction down|up] [--copy yes|no]\n"
    "                     [--http yes|no] TIME\n"
    "       oceanid-load idle    ROUTE --steps 2000,8000\n"
    "ROUTE: --targets A:P[,A:P...] --sources A[,A...] [--proxy A:P]     TIME: [--window-ms N] "
    "[--warmup-ms N]\n"
    "target prints its ports and serves until its standard input ends; idle waits for a line of "
    "standard\n"
    "input at every step. Addresses are IPv4.\n";

namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const auto comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(comma + 1);
  }
}

Result<std::size_t> number(std::string_view key, std::string_view text, std::size_t max) {
  const auto value = parse_decimal(text, max);
  if (!value || *value == 0) {
    return fail(Errc::invalid_argument, std::string(key) + ": found '" + std::string(text) +
                                            "', allowed: 1.." + std::to_string(max));
  }
  return static_cast<std::size_t>(*value);
}

Result<SocketAddress> ipv4_endpoint(std::string_view text) {
  auto address = SocketAddress::parse(text);
  if (address && !address->address.is_v4()) {
    return fail(Errc::invalid_argument, std::string(text) + ": only IPv4 here");
  }
  return address;
}

Result<void> set_addresses(Options& options, std::string_view key, std::string_view value) {
  for (const auto& part : split(value)) {
    if (key == "--sources") {
      const auto address = IpAddress::parse(part);
      if (!address || !address->is_v4()) {
        return fail(Errc::invalid_argument, "--sources: '" + part + "' is no IPv4 address");
      }
      options.sources.push_back(*address);
      continue;
    }
    auto address = ipv4_endpoint(part);
    if (!address) {
      return std::unexpected(std::move(address.error()).context(key));
    }
    if (key == "--proxy") {
      options.proxy = *address;
    } else {
      options.targets.push_back(*address);
    }
  }
  return {};
}

Result<void> set_choice(bool& where, std::string_view key, std::string_view value,
                        std::pair<std::string_view, std::string_view> off_on) {
  if (value != off_on.first && value != off_on.second) {
    return fail(Errc::invalid_argument, std::string(key) + ": found '" + std::string(value) +
                                            "', allowed: " + std::string(off_on.first) + " or " +
                                            std::string(off_on.second));
  }
  where = value == off_on.second;
  return {};
}

Result<void> set_number(Options& options, std::string_view key, std::string_view value) {
  if (key == "--steps") {
    for (const auto& part : split(value)) {
      const auto step = number(key, part, 1'000'000);
      if (!step) {
        return std::unexpected(step.error());
      }
      options.steps.push_back(*step);
    }
    return {};
  }
  const auto parsed = number(key, value, 1'000'000);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  if (key == "--tunnels") {
    options.tunnels = *parsed;
  } else if (key == "--ports") {
    options.ports = *parsed;
  } else if (key == "--window-ms") {
    options.window = std::chrono::milliseconds(*parsed);
  } else if (key == "--warmup-ms") {
    options.warmup = std::chrono::milliseconds(*parsed);
  } else {
    return fail(Errc::invalid_argument, "unknown option " + std::string(key));
  }
  return {};
}

Result<void> set_option(Options& options, std::string_view key, std::string_view value) {
  if (key == "--proxy" || key == "--targets" || key == "--sources") {
    return set_addresses(options, key, value);
  }
  if (key == "--direction") {
    return set_choice(options.up, key, value, {"down", "up"});
  }
  if (key == "--copy") {
    return set_choice(options.copy, key, value, {"no", "yes"});
  }
  if (key == "--http") {
    return set_choice(options.http, key, value, {"no", "yes"});
  }
  return set_number(options, key, value);
}

Result<Mode> parse_mode(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Mode>, 5> kModes{{{"target", Mode::target},
                                                                     {"rate", Mode::rate},
                                                                     {"latency", Mode::latency},
                                                                     {"bulk", Mode::bulk},
                                                                     {"idle", Mode::idle}}};
  for (const auto& [text, mode] : kModes) {
    if (text == name) {
      return mode;
    }
  }
  return fail(Errc::invalid_argument, "unknown mode '" + std::string(name) + "'");
}

}  // namespace

Result<Options> parse_options(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    return fail(Errc::invalid_argument, "a mode is missing");
  }
  const auto mode = parse_mode(arguments.front());
  if (!mode) {
    return std::unexpected(mode.error());
  }
  Options options;
  options.mode = *mode;
  for (std::size_t i = 1; i < arguments.size(); i += 2) {
    if (i + 1 == arguments.size()) {
      return fail(Errc::invalid_argument, arguments[i] + ": its value is missing");
    }
    auto done = set_option(options, arguments[i], arguments[i + 1]);
    if (!done) {
      return std::unexpected(std::move(done.error()));
    }
  }
  if (options.mode != Mode::target && (options.targets.empty() || options.sources.empty())) {
    return fail(Errc::invalid_argument, "--targets and --sources are needed");
  }
  if (options.http && options.up) {
    return fail(Errc::invalid_argument, "--http measures downloads only");
  }
  if (options.mode == Mode::idle && options.steps.empty()) {
    return fail(Errc::invalid_argument, "--steps is needed");
  }
  return options;
}

}  // namespace oceanid::bench
