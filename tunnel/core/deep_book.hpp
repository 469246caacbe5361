#pragma once
// What the probes beyond the exits have found: targets that must be reachable, and the address that
// the world sees. Filled from the worker's reports, which are another process's word: what was not
// asked is not taken. Pure; time as an argument.
//
//   canaries   tls, dns, http, tcp: what they say together speaks for or against an exit. When
//              fewer than half answer: bad. A target fails with its second failure in a row, or
//              with the first when all of an exit's canaries fail in the same round
//   services   postgres, ready: the operator's own; they are reported, and blamed on no exit
//   address    one wrong answer is enough, and unknown is not good: fails closed. Until the world
//              has answered, or where nobody out there is asked, what the exit says of itself
//              counts. It counts as well when it has changed since the world's answer and is wrong

#include "tunnel/core/diagnosis.hpp"
#include "tunnel/core/settings.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::tunnel {

inline constexpr std::string_view address_probe = "exit_ip";
std::string_view to_string(HealthTarget::Kind kind);
std::string name_of(const HealthTarget& target);  // "tls www.example.net:443"
bool is_canary(const HealthTarget& target);
// Asked by the host's own routes, once: another program beside us, behind no exit.
bool is_neighbour(const HealthTarget& target);

struct DeepResult {
  std::string exit;    // its name; empty: by the host's own routes
  std::string target;  // name_of(), or address_probe
  bool good = false;
  std::string error;
  double seconds = 0;
  std::optional<int> certificate_days;
  std::optional<IpAddress> seen;
};

class DeepBook {
 public:
  struct Record {
    bool known = false;
    bool good = true;
    bool failing = false;
    std::uint32_t failures_in_row = 0;
    std::uint64_t good_total = 0;
    std::uint64_t failed_total = 0;
    std::string error;  // of the last failure, as long as it lasts
    double seconds = 0;
    std::optional<int> certificate_days;
    std::optional<IpAddress> seen;
    bool seen_anew = false;             // no fill() since that answer
    std::optional<ExitWord> word_then;  // what the exit said at that time
    std::uint64_t mismatches = 0;       // of the address with what was expected
  };
  struct Exit {
    std::string name;
    std::vector<IpAddress> addresses;  // what the world must see; empty: health.exit_ip.expect
  };
  using Records = std::map<std::pair<std::string, std::string>, Record>;  // by exit and target

  // What is known of what stays is kept.
  void configure(const std::vector<Exit>& exits, const HealthSettings& health, TimePoint now);
  bool asks() const { return !records_.empty(); }
  // False: nobody asked that, or the numbers make no sense.
  bool take(DeepResult result);

  // Completes what is known of an exit.
  void fill(ExitFindings& exit, TimePoint now);
  std::vector<TargetFinding> services(const std::string& exit) const;
  const Records& records() const { return records_; }

 private:
  void judge(const std::string& exit);
  void judge_address(ExitFindings& exit);

  std::vector<HealthTarget> targets_;
  bool asks_address_ = false;
  std::map<std::string, std::vector<IpAddress>> expected_;  // by exit
  TimePoint since_{};
  Records records_;
};

// The evidence that the state machine takes: canaries that fail through every exit alike are the
// targets' fault, and a last exit is not given up for them.
void blame_targets(std::vector<ExitEvidence>& exits);

}  // namespace oceanid::tunnel
