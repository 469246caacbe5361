#pragma once
// The keys of `tunnel` and `health`.

#include "gateway/config/keys.hpp"
#include "tunnel/core/settings.hpp"

#include <array>

namespace oceanid::config {

inline constexpr std::array backends{Choice{"auto", tunnel::BackendChoice::automatic},
                                     Choice{"kernel", tunnel::BackendChoice::kernel},
                                     Choice{"userspace", tunnel::BackendChoice::userspace}};
inline constexpr std::array transports{Choice{"auto", tunnel::TransportChoice::automatic},
                                       Choice{"udp", tunnel::TransportChoice::udp},
                                       Choice{"tls", tunnel::TransportChoice::tls}};
inline constexpr EnumType<tunnel::BackendChoice> backend{backends};
inline constexpr EnumType<tunnel::TransportChoice> transport{transports};

// WireGuard counts the keepalive in whole seconds, in 16 bits.
inline constexpr DurationType<> keepalive{milliseconds(0), std::chrono::seconds(65535),
                                          std::chrono::seconds(1)};
// A search sends up to 90 packets of full size; not every moment.
inline constexpr DurationType<> mtu_raise{std::chrono::seconds(5), std::chrono::days(3650)};
inline constexpr DurationType<std::chrono::hours> key_lifetime{
    std::chrono::hours(1), std::chrono::days(3650), std::chrono::hours(1)};

// One mapping of health.targets: exactly one kind, and a status for http.
struct HealthTargetType {
  using Value = tunnel::HealthTarget;
  void read(Report& report, const YamlNode& node, const std::string& path, Value& value) const;
  std::string allowed() const {
    return "a mapping with one of tls, dns, postgres, http (with status), tcp, ready";
  }
  std::string show(const Value& value) const { return value.target; }
  std::string schema() const;
};

template <class Visitor>
void describe(Visitor& v, tunnel::TlsAccept& s) {
  v.field({"bind", "where peers dial the TLS transport", true}, s.bind, bind_address);
  v.field({"certificate", "our certificate chain, PEM; null: made up, peers prove their keys"},
          s.certificate, Nullable{file_path});
  v.field({"key", "its private key, PEM"}, s.key, Nullable{file_path});
  v.field({"client_ca", "peers must also show a certificate of this authority"}, s.client_ca,
          Nullable{file_path});
  v.field({"responder", "UDP port that answers peers who ask whether UDP passes"}, s.responder,
          port);
}

template <class Visitor>
void describe(Visitor& v, tunnel::TlsDial& s) {
  v.field({"endpoint", "the peer's tunnel.tls.bind as seen from here", true}, s.endpoint,
          host_port);
  v.field({"ca", "the authority of its certificate; null: its WireGuard key is proof enough"}, s.ca,
          Nullable{file_path});
  v.field({"certificate", "ours, when the peer asks"}, s.certificate, Nullable{file_path});
  v.field({"key", "its private key"}, s.key, Nullable{file_path});
  v.field({"proxy", "an HTTP proxy on the way"}, s.proxy,
          Nullable{UrlType{"http://user:password@proxy.example.net:3128", true}});
}

template <class Visitor>
void describe(Visitor& v, tunnel::PeerSettings& s) {
  v.field({"name", "unique; its interface is oc-NAME", true}, s.name, NameType{9});
  v.field({"public_key", "its WireGuard key: oceanid keys public, on the peer", true}, s.public_key,
          KeyType{});
  v.field({"next_public_key", "the key that it turns to next: oceanid keys rotate, on the peer"},
          s.next_public_key, Nullable{KeyType{}});
  v.field({"preshared_key_file",
           "a WireGuard preshared key, the same on both sides; read anew by a reload"},
          s.preshared_key_file, Nullable{file_path});
  v.field({"endpoint", "where we dial it; null: it dials us"}, s.endpoint, Nullable{host_port});
  v.field({"address", "its tunnel.address", true}, s.addresses, List{address, true});
  v.field({"networks", "what lives behind it"}, s.networks, List{prefix});
  v.field({"keepalive", "0s: off"}, s.keepalive, keepalive);
  v.field({"via", "reached through this other peer, which has overlay: on"}, s.via,
          Nullable{NameType{9}});
  v.field({"transport", "how packets travel; auto: UDP, and what tls allows where UDP is blocked"},
          s.transport, transport);
  v.field({"tls", "the TLS transport to it; null: UDP only"}, s.tls, Nullable{Object{}});
}

template <class Visitor>
void describe(Visitor& v, tunnel::TunnelSettings& s) {
  v.field({.name = "private_key_file",
           .doc = "created with mode 0600 when missing",
           .default_text = "STATE_DIR/private.key"},
          s.private_key_file, Nullable{file_path});
  v.field({"key_lifetime", "an older key is warned about"}, s.key_lifetime, key_lifetime);
  v.field({"listen", "UDP port for peers that dial us; null: nobody does"}, s.listen,
          Nullable{port});
  v.field({"probe", "UDP port of the echo and MTU responder"}, s.probe, port);
  v.field({"address", "this node's own tunnel addresses; required with peers"}, s.addresses,
          List{address});
  v.field(
      {"backend", "kernel: WireGuard of the kernel; userspace: wireguard-go; auto: what there is"},
      s.backend, backend);
  v.field({"wireguard_go", "program of the userspace backend"}, s.wireguard_go,
          TextType{"the name or path of a program"});
  v.field({"mtu", "inside the tunnels"}, s.mtu, MtuType{});
  v.field({"mtu_raise", "how often a larger MTU is tried"}, s.mtu_raise, mtu_raise);
  v.field(
      {"overlay",
       "on: pod traffic to peers' networks takes the tunnels, and peers reach each other through "
       "this node"},
      s.overlay, SwitchType{});
  v.field({"dns", "servers for endpoint names; []: the host's"}, s.dns, List{dns_server});
  v.field({"return_after", "a tunnel that fell back to TLS returns when UDP has answered so long"},
          s.return_after, DurationType<>{std::chrono::seconds(1), std::chrono::hours(24)});
  v.field({"tls", "we accept the TLS transport"}, s.tls, Nullable{Object{}});
  v.field({"peers", "the other nodes"}, s.peers, List{Object{}});
}

template <class Visitor>
void describe(Visitor& v, tunnel::ExitIpCheck& s) {
  v.field({"url", "answers with the caller's address"}, s.url,
          Nullable{UrlType{"https://ip.example.net/"}});
  v.field({"expect", "what it must answer on a gateway without exits"}, s.expect, List{address});
  v.field({"interval", "between two looks; also after every change of the exit"}, s.interval,
          DurationType<>{milliseconds(1000), std::chrono::hours(24)});
}

template <class Visitor>
void describe(Visitor& v, tunnel::HealthSettings& s) {
  v.field({"interval", "between two echoes through a tunnel"}, s.interval,
          DurationType<>{milliseconds(20), std::chrono::hours(1)});
  v.field({"down_after", "lost echoes in a row"}, s.down_after, CountType<std::uint32_t>{1, 1000});
  v.field({"hold", "a recovered exit must stay good before it is used again"}, s.hold,
          duration_or_zero);
  v.field(
      {"damping", "on: an exit that fails again and again is left alone for up to four minutes"},
      s.damping, SwitchType{});
  v.field(
      {"targets",
       "what must work: tls, dns, http and tcp speak for or against an exit; postgres and ready "
       "are reported"},
      s.targets, List{HealthTargetType{}});
  v.field({"target_interval", "between two probes of a target through an exit"}, s.target_interval,
          DurationType<>{milliseconds(200), std::chrono::hours(1)});
  v.field({"target_timeout", "how long a target may take"}, s.target_timeout,
          DurationType<>{milliseconds(100), std::chrono::minutes(1)});
  v.field(
      {"exit_ip", "what the world sees of us; with a url an exit is used only when that is right"},
      s.exit_ip, Object{});
}

}  // namespace oceanid::config
