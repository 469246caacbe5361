#include "tunnel/core/deep_book.hpp"

#include <algorithm>
#include <cmath>

namespace oceanid::tunnel {
namespace {

constexpr std::chrono::seconds first_answer{1};  // until then an exit waits for its canaries
constexpr std::uint32_t failures_allowed = 2;
constexpr std::size_t longest_error = 200;
constexpr double longest_probe = 3600;
constexpr int most_days = 100'000;

// Another process's words, on their way to a terminal and a web page.
std::string printable(std::string text) {
  if (text.size() > longest_error) text.resize(longest_error);
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

}  // namespace

std::string_view to_string(HealthTarget::Kind kind) {
  switch (kind) {
    case HealthTarget::Kind::tls:
      return "tls";
    case HealthTarget::Kind::dns:
      return "dns";
    case HealthTarget::Kind::postgres:
      return "postgres";
    case HealthTarget::Kind::http:
      return "http";
    case HealthTarget::Kind::tcp:
      return "tcp";
    case HealthTarget::Kind::ready:
      return "ready";
  }
  return "tcp";
}

std::string name_of(const HealthTarget& target) {
  return std::string(to_string(target.kind)) + " " + target.target;
}

bool is_canary(const HealthTarget& target) {
  return target.kind != HealthTarget::Kind::postgres && target.kind != HealthTarget::Kind::ready;
}

bool is_neighbour(const HealthTarget& target) {
  return target.kind == HealthTarget::Kind::ready;
}

void DeepBook::configure(const std::vector<Exit>& exits, const HealthSettings& health,
                         TimePoint now) {
  targets_ = health.targets;
  asks_address_ = health.exit_ip.url.has_value();
  expected_.clear();
  since_ = now;
  Records fresh;
  const auto keep = [&](const std::string& exit, const std::string& target) {
    const auto found = records_.find({exit, target});
    fresh.emplace(std::pair(exit, target), found == records_.end() ? Record() : found->second);
  };
  const std::vector<Exit> none{Exit()};
  for (const Exit& exit : exits.empty() ? none : exits) {
    for (const HealthTarget& target : targets_)
      keep(is_neighbour(target) ? std::string() : exit.name, name_of(target));
    expected_.emplace(exit.name, exit.addresses.empty() ? health.exit_ip.expect : exit.addresses);
    if (asks_address_) keep(exit.name, std::string(address_probe));
  }
  records_ = std::move(fresh);
}

bool DeepBook::take(DeepResult result) {
  const auto found = records_.find({result.exit, result.target});
  if (found == records_.end() || !std::isfinite(result.seconds) || result.seconds < 0 ||
      result.seconds > longest_probe)
    return false;
  Record& record = found->second;
  record.known = true;
  record.good = result.good;
  record.failures_in_row = result.good ? 0 : record.failures_in_row + 1;
  ++(result.good ? record.good_total : record.failed_total);
  record.error = result.good ? std::string() : printable(std::move(result.error));
  record.seconds = result.seconds;
  if (result.certificate_days)
    record.certificate_days = std::clamp(*result.certificate_days, -most_days, most_days);
  if (result.good && result.seen) {
    record.seen = result.seen;
    record.seen_anew = true;
    const auto expected = expected_.find(result.exit);
    if (result.target == address_probe && expected != expected_.end() &&
        !expected->second.empty() &&
        std::ranges::find(expected->second, *result.seen) == expected->second.end())
      ++record.mismatches;
  }
  judge(result.exit);
  return true;
}

void DeepBook::judge(const std::string& exit) {
  std::size_t asked = 0;
  std::size_t failed = 0;
  for (const HealthTarget& target : targets_) {
    if (!is_canary(target)) continue;
    const auto found = records_.find({exit, name_of(target)});
    if (found == records_.end()) continue;
    ++asked;
    failed += found->second.good ? 0 : 1;
  }
  const bool all = asked >= 2 && failed == asked;
  for (const HealthTarget& target : targets_) {
    const auto found = records_.find({exit, name_of(target)});
    if (found == records_.end()) continue;
    Record& record = found->second;
    record.failing = record.failures_in_row >= failures_allowed || (all && is_canary(target)) ||
                     (record.failing && !record.good);
  }
}

namespace {

// The expected address to name beside one that was seen.
std::string nearest(const std::vector<IpAddress>& wanted, const IpAddress& seen) {
  const auto found = std::ranges::find(wanted, seen.family(), &IpAddress::family);
  return (found == wanted.end() ? wanted.front() : *found).to_string();
}

// The exit's own word is there at once, and needs nobody outside.
void believe_word(ExitFindings& exit, const std::vector<IpAddress>& wanted) {
  if (!exit.word) return;
  for (const auto& said : {exit.word->ipv4, exit.word->ipv6}) {
    if (!said || std::ranges::find(wanted, said->family(), &IpAddress::family) == wanted.end())
      continue;
    const bool right = std::ranges::find(wanted, *said) != wanted.end();
    exit.exit_address = right ? Verdict::good : Verdict::bad;
    if (right) continue;
    exit.by_its_word = true;
    exit.seen_address = said->to_string();
    exit.expected_address = nearest(wanted, *said);
    return;
  }
}

}  // namespace

void DeepBook::fill(ExitFindings& exit, TimePoint now) {
  bool known = true;
  for (const HealthTarget& target : targets_) {
    const auto found = records_.find({exit.name, name_of(target)});
    if (!is_canary(target) || found == records_.end()) continue;
    ++exit.canaries_asked;
    known = known && found->second.known;
    if (!found->second.failing)
      ++exit.canaries_good;
    else
      exit.canary_error = name_of(target) + ": " + found->second.error;
  }
  if (exit.canaries_asked > 0) {
    if (exit.canaries_good * 2 < exit.canaries_asked)
      exit.canaries = Verdict::bad;
    else if (exit.canaries_good < exit.canaries_asked)
      exit.canaries = Verdict::partial;
    else if (known)
      exit.canaries = Verdict::good;
    else
      exit.canaries = now - since_ < first_answer ? Verdict::pending : Verdict::none;
  }
  judge_address(exit);
}

// What the world sees counts more than what the exit says, unless that is news: an exit that has
// another address since the world has answered is not used until the world has seen that one.
void DeepBook::judge_address(ExitFindings& exit) {
  const auto expected = expected_.find(exit.name);
  if (expected == expected_.end() || expected->second.empty()) return;
  const auto& wanted = expected->second;
  const auto found = records_.find({exit.name, std::string(address_probe)});
  if (found == records_.end()) {
    believe_word(exit, wanted);
    return;
  }
  Record& record = found->second;
  if (std::exchange(record.seen_anew, false)) record.word_then = exit.word;
  if (!record.seen || exit.word != record.word_then) believe_word(exit, wanted);
  if (exit.exit_address == Verdict::bad) return;
  exit.address_error = record.error;
  if (!record.seen) {
    exit.exit_address = Verdict::pending;
    return;
  }
  const bool right = std::ranges::find(wanted, *record.seen) != wanted.end();
  exit.exit_address = right ? Verdict::good : Verdict::bad;
  exit.seen_address = record.seen->to_string();
  exit.expected_address = nearest(wanted, *record.seen);
}

std::vector<TargetFinding> DeepBook::services(const std::string& exit) const {
  std::vector<TargetFinding> out;
  for (const HealthTarget& target : targets_) {
    const auto found =
        records_.find({is_neighbour(target) ? std::string() : exit, name_of(target)});
    if (found == records_.end()) continue;
    const Record& record = found->second;
    TargetFinding& finding = out.emplace_back();
    finding.target = name_of(target);
    // Canaries that fail are the exit's business, when there is one.
    if (record.failing && (exit.empty() || !is_canary(target))) finding.error = record.error;
    finding.certificate_days = record.certificate_days;
  }
  return out;
}

void blame_targets(std::vector<ExitEvidence>& exits) {
  const bool any_good = std::ranges::any_of(exits, [](const ExitEvidence& e) {
    return e.enabled && e.link && carries(e.path) && e.serves && e.exit_address != Verdict::bad &&
           e.canaries != Verdict::bad && e.canaries != Verdict::pending;
  });
  if (any_good) return;
  for (ExitEvidence& exit : exits)
    if (exit.canaries == Verdict::bad) exit.canaries = Verdict::partial;
}

}  // namespace oceanid::tunnel
