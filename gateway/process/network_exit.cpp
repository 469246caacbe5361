// What an exit node has to be told about: a table of connections that fills up, addresses that
// nobody would answer to.

#include "gateway/process/exit_service.hpp"
#include "gateway/process/network.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "routing/core/exit_shown.hpp"
#include "routing/edge/conntrack_figures.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

std::vector<IpAddress> snat_addresses(const routing::ServeExitSettings& serve) {
  std::vector<IpAddress> out;
  if (const auto* single = std::get_if<IpAddress>(&serve.snat)) out = {*single};
  if (const auto* list = std::get_if<routing::SnatList>(&serve.snat)) out = *list;
  if (const auto* map = std::get_if<routing::SnatMap>(&serve.snat))
    for (const auto& [source, address] : *map)
      out.push_back(address);
  return out;
}

}  // namespace

// Said in every echo to those whose exit this is, so that they know before any of their own probes
// beyond it has found out.
std::optional<tunnel::ExitWord> Network::exit_word() const {
  if (!config_.serve_exit) return std::nullopt;
  const auto* uplink = routing::find_link(facts_, config_.serve_exit->uplink);
  const routing::ExitShown shown = routing::shown_by_exit(*config_.serve_exit, uplink);
  return tunnel::ExitWord{shown.serves, shown.ipv4, shown.ipv6};
}

void Network::warn(const std::string& text) {
  events_.warning("routing", text);
}

void Network::watch_connections(ipc::GatewaySnapshot& out) {
  if (!config_.routing && !config_.serve_exit) return;
  const auto figures = routing::read_conntrack_figures();
  if (!figures) return;
  out.conntrack = ipc::ConntrackView{figures->entries, figures->limit, figures->insert_failed,
                                     figures->dropped};
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  if (const auto said = conntrack_watch_.tick(*figures, static_cast<std::uint64_t>(seconds)))
    warn(*said);
}

awaitable<void> Network::serve(bool sets_are_new) {
  if (!exit_service_ && !config_.serve_exit) co_return;
  if (!exit_service_)
    exit_service_ = std::make_unique<ExitService>(
        io_.get_executor(), *kernel_,
        ExitService::Reports{
            .warning = [this](const std::string& text) { warn(text); },
            .event = [this](const std::string& text) { events_.event("routing", text); }});
  if (sets_are_new) exit_service_->sets_replaced();
  co_await exit_service_->follow(config_, flows_ ? flows_->watcher() : nullptr);
}

// An address that is routed to this node without being on it is answered for, too; whether it is
// cannot be seen from here.
void Network::watch_snat_addresses() {
  if (!config_.serve_exit) return;
  const std::vector<IpAddress> local = local_addresses_of(facts_);
  std::vector<IpAddress> missing;
  for (const IpAddress& address : snat_addresses(*config_.serve_exit))
    if (std::ranges::find(local, address) == local.end()) missing.push_back(address);
  for (const IpAddress& address : missing)
    if (std::ranges::find(snat_missing_, address) == snat_missing_.end())
      warn(fmt::format(
          "serve_exit.snat: {0} is not an address of this node; unless the network routes it here, "
          "answers do not come back: ip address add {0}/{1} dev {2}",
          address.to_string(), address.bits(), config_.serve_exit->uplink.str()));
  snat_missing_ = std::move(missing);
}

}  // namespace oceanid::process
