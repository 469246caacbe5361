#pragma once
// What no single key can know: names that must exist, addresses that must not overlap, keys that
// need or exclude each other. Pure; every check looks only at values that were read without a
// problem.

#include "gateway/config/config.hpp"
#include "gateway/config/report.hpp"

#include <functional>
#include <string>
#include <vector>

namespace oceanid::config {

// One pass over a decoded configuration.
class Checker {
 public:
  Checker(const Config& config, const YamlNode& root, Report& report)
      : config_(config), root_(root), report_(report) {}

  void proxy();
  void interceptions();
  void forwards();
  void binds();
  void tunnel();
  void accepted_transport();
  void peers();
  void exits();
  void serve_exit();
  void routing();
  void tables();

 private:
  void add(const std::string& path, const std::string& message);
  bool clean(std::string_view path) const { return report_.clean(path); }

  void listener(const std::string& path, const proxy::ListenerSettings& listener);
  void interception(const std::string& path, const proxy::ListenerSettings& listener);
  void roles();
  void parent();
  bool reaches(const SocketAddress& dialled, const SocketAddress& bound) const;
  void exit_name(const std::string& path, const std::optional<std::string>& exit_name);
  void exit_names(const std::string& path, const ExitPin& pin);

  void peer(const std::string& path, const tunnel::PeerSettings& peer);
  void via(const std::string& path, const tunnel::PeerSettings& peer);
  void public_keys();
  void ranges();

  void exit(const std::string& path, const ExitSettings& exit);
  void sources();
  void selection();
  void selection_rule(const std::string& path, const routing::SelectionRule& rule);

  const Config& config_;
  const YamlNode& root_;
  Report& report_;
};

// Addresses that packets of our own travel between.
struct NamedAddress {
  std::string what;
  IpAddress address;
};
std::vector<NamedAddress> underlay(const Config& config);

void check(const Config& config, const YamlNode& root, Report& report);

// Names or addresses that appear twice: calls back with the indices of the earlier and the later
// one.
template <class Range, class Projection, class Callback>
void each_duplicate(const Range& range, Projection projection, Callback callback) {
  for (std::size_t later = 1; later < range.size(); ++later)
    for (std::size_t earlier = 0; earlier < later; ++earlier)
      if (std::invoke(projection, range[earlier]) == std::invoke(projection, range[later])) {
        callback(earlier, later);
        break;
      }
}

}  // namespace oceanid::config
