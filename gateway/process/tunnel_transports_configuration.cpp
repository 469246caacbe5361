// What the transport process is told: from the configuration, the tunnels' keys and files.

#include "gateway/base/runtime/state_file.hpp"
#include "gateway/process/logging.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/transport_sockets.hpp"
#include "gateway/process/tunnel_transports.hpp"
#include "tunnel/edge/transport_tls.hpp"

#include <algorithm>
#include <utility>

#include <fcntl.h>

namespace oceanid::process {
namespace {

constexpr std::size_t max_pem_bytes = 1U << 20U;

Result<std::string> contents(const std::optional<std::string>& path) {
  if (!path) return std::string();
  return read_small_file(*path, max_pem_bytes);
}

Result<ipc::TransportMaterial> material_of(const std::optional<std::string>& certificate,
                                           const std::optional<std::string>& key,
                                           const std::optional<std::string>& authority) {
  ipc::TransportMaterial out;
  for (auto [path, into] : {std::pair{&certificate, &out.certificate}, std::pair{&key, &out.key},
                            std::pair{&authority, &out.authority}}) {
    auto text = contents(*path);
    if (!text) return std::unexpected(std::move(text.error()));
    *into = std::move(*text);
  }
  return out;
}

tunnel::TlsMaterial texts_of(const ipc::TransportMaterial& from) {
  return {from.certificate, from.key, from.authority};
}

bool has_ladder(const tunnel::PeerSettings& peer) {
  return peer.tls && peer.endpoint && peer.transport != tunnel::TransportChoice::udp;
}

}  // namespace

Result<ipc::TransportDial> TunnelTransports::dial_of(const tunnel::PeerSettings& peer,
                                                     const tunnel::TunnelManager& tunnels) const {
  ipc::TransportDial out;
  auto key = tunnels.transport_key_of(peer.name);
  if (!key) return std::unexpected(std::move(key.error()));
  auto material = material_of(peer.tls->certificate, peer.tls->key, peer.tls->ca);
  if (!material) return std::unexpected(std::move(material.error()));
  // Whether the files are of use shows here, where a reload can still be refused.
  if (auto usable = tunnel::make_dialling_context(texts_of(*material)); !usable)
    return std::unexpected(std::move(usable.error()));
  out.peer = peer.name;
  out.key = key->reveal_hex();
  out.host = peer.tls->endpoint.host;
  out.material = std::move(*material);
  if (!peer.tls->proxy) return out;
  auto proxy = proxy::parse_parent(*peer.tls->proxy);
  if (!proxy) return std::unexpected(std::move(proxy.error()).context("proxy"));
  out.proxy_target = peer.tls->endpoint.to_string();
  out.authorization = proxy->authorization;
  return out;
}

Result<void> TunnelTransports::accept(const Config& config, const tunnel::TunnelManager& tunnels,
                                      TransportConfiguration& out) {
  const auto& tls = *config.tunnel->tls;
  auto material = material_of(tls.certificate, tls.key, tls.client_ca);
  if (!material) return std::unexpected(std::move(material.error()).context("tunnel.tls"));
  if (auto usable = tunnel::make_accepting_context(texts_of(*material)); !usable)
    return std::unexpected(std::move(usable.error()).context("tunnel.tls"));
  for (const auto& peer : config.tunnel->peers) {
    if (peer.via) continue;  // no tunnel between us
    auto key = tunnels.transport_key_of(peer.name);
    if (!key) return std::unexpected(std::move(key.error()));
    out.message.accept_peers.push_back({peer.name, key->reveal_hex()});
  }
  auto listener = events_.listener(tls.bind);
  if (!listener) return std::unexpected(std::move(listener.error()));
  out.message.accept_at = tls.bind.to_string() + " " + std::to_string(tls.responder);
  // The same process keeps the socket that it was given first.
  UniqueFd responder;
  if (responder_ && responder_port_ == tls.responder) {
    responder.reset(::fcntl(responder_.get(), F_DUPFD_CLOEXEC, 0));
  } else {
    auto made = responder_udp(tls.responder, underlay_mark(config));
    if (!made) return std::unexpected(std::move(made.error()));
    responder_ = std::move(*made);
    responder_port_ = tls.responder;
    responder.reset(::fcntl(responder_.get(), F_DUPFD_CLOEXEC, 0));
  }
  if (!responder) return fail_errno("duplicate a socket");
  out.message.accept_material = std::move(*material);
  out.fds.push_back(std::move(*listener));
  out.fds.push_back(std::move(responder));
  return {};
}

// Peers that are new get their shim's socket and their ladder here.
Result<TransportConfiguration> TunnelTransports::configuration_for(const Config& config,
                                                                   tunnel::TunnelManager& tunnels) {
  TransportConfiguration out;
  out.user = config.proxy.user;
  out.message.log_level = level_name(config.log.level);
  out.message.log_json = config.log.format == LogFormat::json;
  for (const auto& peer : config.tunnel->peers) {
    if (!has_ladder(peer)) continue;
    auto dial = dial_of(peer, tunnels);
    if (!dial)
      return std::unexpected(std::move(dial.error()).context("the tls of peer " + peer.name));
    auto way = way_of(config, peer);
    if (!way) return std::unexpected(std::move(way.error()));
    out.fds.emplace_back(::fcntl(*way, F_DUPFD_CLOEXEC, 0));
    if (!out.fds.back()) return fail_errno("duplicate a socket");
    out.message.dials.push_back(std::move(*dial));
  }
  if (config.tunnel->tls)
    if (auto done = accept(config, tunnels, out); !done)
      return std::unexpected(std::move(done.error()));
  return out;
}

}  // namespace oceanid::process
