#pragma once
// A small kernel for tests: keeps rules, routes, links, sysctls and the text of the nft tables,
// refuses what Linux refuses, fails where it is told to, and prints itself.

#include "routing/edge/kernel.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace oceanid::routing {

class FakeKernel final : public Kernel {
 public:
  Actual state;  // state.nft_tables: as they are; none until the first commit
  std::map<std::string, std::string> sysctls;
  HostFacts host;
  std::vector<std::string> log;  // every change, in the words of describe()
  int nft_runs = 0;
  std::function<void()> while_nft_runs;                 // its text is not in force yet
  std::vector<ElementChange> element_changes;           // carried out, in order
  std::map<std::string, std::vector<KeyElement>> keys;  // of sets without intervals
  // Injected errors: by what describe(change), "sysctl PATH" "nft" or "elements" contains, with
  // this errno.
  std::map<std::string, int> failures;

  FakeKernel() { state.nft.known = true; }

  void add_link(std::string_view name, bool up = true, unsigned mtu = 1500) {
    state.links.push_back(LinkActual{IfName::parse(name).value(), up, mtu, {}});
  }

  std::string dump() const {
    std::string out;
    for (const Rule& rule : state.rules)
      out += to_string(rule) + "\n";
    for (const Route& route : state.routes)
      out += to_string(route) + "\n";
    for (const LinkActual& link : state.links) {
      out += fmt::format("{} {} mtu {}", link.name.str(), link.up ? "up" : "down", link.mtu);
      for (const auto& address : link.addresses)
        out += " " + address.to_string();
      out += "\n";
    }
    for (const auto& [path, value] : sysctls)
      out += sysctl_assignment(path, value) + "\n";
    return out + "nft: " + (state.nft_tables ? text_of(*state.nft_tables) : "") + "\n";
  }

  Result<Actual> read_actual() override {
    Actual out = state;
    out.nft_tables.reset();  // the kernel does not tell
    return out;
  }

  std::vector<Route> foreign;  // of other protocols
  Result<std::vector<Route>> foreign_routes(const std::set<std::uint32_t>& tables) override {
    std::vector<Route> out;
    for (const Route& route : foreign)
      if (tables.contains(route.table)) out.push_back(route);
    return out;
  }

  Result<void> apply(const NetlinkChange& change) override {
    const std::string text = describe(Change(change));
    if (auto injected = failure(text); !injected) return injected;
    log.push_back(text);
    return std::visit([this](const auto& c) { return perform(c); }, change);
  }

  std::vector<std::size_t> together;  // how many changes came at once
  std::vector<Result<void>> apply_all(std::span<const NetlinkChange> changes) override {
    together.push_back(changes.size());
    std::vector<Result<void>> out;
    for (const NetlinkChange& change : changes)
      out.push_back(apply(change));
    return out;
  }

  Result<HostFacts> facts() override { return host; }

  Result<std::string> read_sysctl(const std::string& path) override {
    const auto found = sysctls.find(path);
    if (found == sysctls.end()) return fail_errno(path, ENOENT);
    return found->second;
  }

  Result<void> write_sysctl(const std::string& path, const std::string& value) override {
    if (auto injected = failure("sysctl " + path); !injected) return injected;
    log.push_back("sysctl " + sysctl_assignment(path, value));
    sysctls.at(path) = value;
    return {};
  }

  awaitable<Result<void>> run_nft(std::string text) override {
    ++nft_runs;
    if (while_nft_runs) while_nft_runs();
    if (text.contains(offload_table)) co_return run_offload(text);
    if (auto injected = failure("nft"); !injected) co_return injected;
    log.emplace_back(text.starts_with("delete") ? "nft delete" : "nft");
    const auto set = [&](bool& present, std::string_view table) {
      present =
          creates_table(text, table) ||
          (present && text.find(fmt::format("delete table {}\n", table)) == std::string::npos);
    };
    set(state.nft.inet, "inet oceanid");
    set(state.nft.ip_nat, "ip oceanid_nat");
    set(state.nft.ip6_nat, "ip6 oceanid_nat");
    ++state.nft.stamp;
    state.nft_tables = state.nft.any() ? read_shortened(text).tables : NftTables{};
    co_return Result<void>{};
  }

  awaitable<Result<void>> apply_elements(std::vector<ElementChange> changes,
                                         std::optional<std::uint64_t> expected) override {
    if (auto injected = failure("elements"); !injected) co_return injected;
    if (!state.nft.inet || (expected && *expected != state.nft.stamp))
      co_return fail(Errc::closed, "our nft tables are no longer those");
    for (ElementChange& change : changes) {
      log.push_back(fmt::format("elements {}{}", change.action == ElementAction::add ? '+' : '-',
                                change.set));
      if (auto done = change_prefixes(change); !done) co_return done;
      for (const KeyElement& one : change.keys) {
        auto& known = keys[change.set];
        std::erase_if(known, [&](const KeyElement& other) { return other.key == one.key; });
        if (change.action == ElementAction::add) known.push_back(one);
      }
      element_changes.push_back(std::move(change));
    }
    co_return Result<void>{};
  }

 private:
  Result<void> run_offload(const std::string& text) {
    const bool made = creates_table(text, "inet oceanid_flow");
    if (auto injected = failure(made ? "offload" : "no flowtable"); !injected) return injected;
    log.emplace_back(made ? "offload" : "no flowtable");
    state.nft.offload = made;
    ++state.nft.offload_stamp;
    return {};
  }
  // As the kernel: what is not there cannot be removed.
  Result<void> change_prefixes(const ElementChange& change) {
    if (change.prefixes.empty()) return {};
    auto& sets = state.nft_tables->sets;
    auto set = std::ranges::find(sets, change.set, &NamedSet::name);
    if (set == sets.end()) return fail_errno(change.set, ENOENT);
    std::vector<Prefix> now = set->prefixes;
    for (const Prefix& prefix : change.prefixes) {
      if (change.action == ElementAction::add)
        now.push_back(prefix);
      else if (std::erase(now, prefix) != 1)
        return fail_errno(change.set, ENOENT);
    }
    std::ranges::sort(now);
    set->prefixes = std::move(now);
    return {};
  }
  Result<void> failure(std::string_view text) const {
    for (const auto& [pattern, error] : failures)
      if (text.find(pattern) != std::string_view::npos) return fail_errno(text, error);
    return {};
  }
  LinkActual& link(const IfName& name) {
    return *std::ranges::find(state.links, name, &LinkActual::name);
  }
  static bool same_key(const Route& a, const Route& b) {
    return a.family == b.family && a.table == b.table && a.destination == b.destination &&
           a.metric == b.metric;
  }
  Result<void> perform(const SetMtu& c) {
    link(c.link).mtu = c.to;
    return {};
  }
  Result<void> perform(const SetUp& c) {
    link(c.link).up = c.up;
    return {};
  }
  Result<void> perform(const AddAddress& c) {
    link(c.link).addresses.push_back(c.address);
    return {};
  }
  Result<void> perform(const DeleteAddress& c) {
    std::erase(link(c.link).addresses, c.address);
    return {};
  }
  Result<void> perform(const AddRoute& c) {
    for (const Route& route : state.routes)
      if (same_key(route, c.route)) return fail_errno("add route", EEXIST);
    state.routes.push_back(c.route);
    return {};
  }
  Result<void> perform(const ReplaceRoute& c) {
    for (Route& route : state.routes)
      if (same_key(route, c.to)) {
        route = c.to;
        return {};
      }
    if (std::erase(foreign, c.from) == 1) {
      state.routes.push_back(c.to);
      return {};
    }
    return fail_errno("replace route", ENOENT);
  }
  Result<void> perform(const DeleteRoute& c) {
    return std::erase(state.routes, c.route) + std::erase(foreign, c.route) == 1
               ? Result<void>{}
               : fail_errno("delete route", ESRCH);
  }
  Result<void> perform(const AddRule& c) {
    if (std::ranges::find(state.rules, c.rule) != state.rules.end())
      return fail_errno("add rule", EEXIST);
    state.rules.push_back(c.rule);
    return {};
  }
  Result<void> perform(const DeleteRule& c) {
    return std::erase(state.rules, c.rule) == 1 ? Result<void>{}
                                                : fail_errno("delete rule", ENOENT);
  }
};

}  // namespace oceanid::routing
