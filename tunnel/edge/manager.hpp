#pragma once
// The tunnel side as netd sees it: takes the configuration and resolved endpoint addresses, keeps
// the WireGuard devices as planned (whoever deletes them), proves each dialled tunnel by echoes,
// and says what is true. It does not touch routes, addresses, MTU or link state: the routing side
// makes the kernel match `status()` (link up, MTU, the node's tunnel addresses on every device,
// `oif` rules). Lives on one thread, that of its executor; every callback comes on it.

#include "gateway/base/exit.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/exit_proof.hpp"
#include "tunnel/core/key_turn.hpp"
#include "tunnel/core/plan.hpp"
#include "tunnel/core/rotation.hpp"
#include "tunnel/core/settings.hpp"
#include "tunnel/core/snapshot.hpp"
#include "tunnel/edge/async_lock.hpp"
#include "tunnel/edge/backend.hpp"
#include "tunnel/edge/echo_prober.hpp"
#include "tunnel/edge/echo_responder.hpp"
#include "tunnel/edge/endpoint_book.hpp"
#include "tunnel/edge/path_keeper.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace oceanid::tunnel {

struct PeerStatus {
  std::string name;
  PublicKey public_key;
  std::optional<SocketAddress> endpoint;              // where it is now
  std::optional<std::chrono::seconds> handshake_age;  // none: no handshake yet
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_bytes = 0;
  unsigned mtu = 0;                // inside the tunnel, to this peer
  std::optional<PathStatus> path;  // none: not measured, or not heard of
  std::optional<bool> hears_us;    // its own word; none: it does not ask us
  // Which of its two keys is in force here; none: it has one.
  std::optional<bool> next_key_in_force;
};

// Whether a peer's echoes reach us and ours reach it.
struct PeerReach {
  std::string name;
  bool dialled = false;                             // we ask it; else it asks us
  std::optional<bool> reached;                      // none: nobody has asked regularly yet
  std::optional<std::chrono::nanoseconds> silence;  // since it was last heard
  std::optional<bool> hears_us;                     // its own word; none: it does not ask us
};

// This node's own key, without any secret.
struct KeyStatus {
  PublicKey public_key;
  std::optional<std::chrono::seconds> age;  // none: it cannot be told
  std::chrono::hours lifetime{0};
  bool too_old = false;
  std::optional<PublicKey> next;  // prepared, or in force while the former one is kept
  Rotation::Phase phase = Rotation::Phase::none;
  std::string held;  // why the rotation does not go on; empty: it does
  std::vector<Rotation::Peer> peers;
  std::uint64_t refused = 0;  // messages about keys that did not fit
};

struct TunnelStatus {
  IfName device;
  bool hub = false;
  std::string backend;   // "kernel" | "userspace"
  std::string version;   // of wireguard-go; empty: not known, or the kernel's own
  bool present = false;  // exists and is configured as wanted
  unsigned mtu = 0;      // what the link is to have
  std::uint16_t listen_port = 0;
  std::vector<PeerStatus> peers;     // one on a dialled device
  PathState echo = PathState::init;  // dialled devices only
  std::uint64_t echo_sent = 0;       // since the prober was made
  std::uint64_t echo_answered = 0;
  std::optional<std::chrono::nanoseconds> rtt;
  unsigned full_size_missing = 0;                        // echoes as large as the MTU, in a row
  std::optional<std::chrono::nanoseconds> echo_silence;  // since the last answer; none: never one
  ExitFindings findings;  // dialled devices only; what the tunnel knows of itself
  ExitProof proof;        // dialled devices only; why (not) usable
  std::string error;      // why it is not present; empty: nothing wrong
};

class TunnelManager {
 public:
  struct Options {
    std::string state_dir;  // private.key, endpoints, path-mtu, peer-keys
    std::string run_dir;    // pids of wireguard-go
    std::string socket_dir = "/var/run/wireguard";
  };
  struct Wanted {
    TunnelSettings settings;
    std::vector<ExitSettings> exits;
    std::chrono::milliseconds interval{200};  // health.interval
    std::uint32_t down_after = 3;             // health.down_after
    Mark fwmark{0, 0};                        // of encapsulated packets: routing's underlay mark
    std::vector<HostPort> transports;  // TLS endpoints and proxies: resolved and bypassed too
  };
  // Where packets to a dialled peer go instead of to its endpoint: to another port of the same
  // host, or to a shim on this machine.
  using Detour = std::variant<std::uint16_t, SocketAddress>;

  TunnelManager(const asio::any_io_executor& executor, Options options);

  // Called (soon, never from within a call to us) whenever status() tells something new that
  // matters to routes or exits: a device came or went, an MTU, an endpoint, an echo's state.
  void set_on_change(std::function<void()> on_change) { on_change_ = std::move(on_change); }

  // Makes the devices match. An error (keys, backend) leaves what runs as it is; trouble with one
  // device is no error: it stands in its status and is tried again with backoff.
  awaitable<Result<void>> apply(Wanted wanted);
  // Whether the files of keys, under the names in force, hold others than those in use.
  Result<bool> other_keys_on_disk() const;

  // Host names of endpoints for the worker to resolve; literals are not among them.
  std::vector<std::string> names_to_resolve() const;
  std::vector<std::string> names_in_doubt() const;  // endpoints of dialled tunnels without echo
  // Fresh addresses of one name, best first. Kept on disk as last good ones; none: the old ones
  // stay.
  void set_resolved(const std::string& name, std::vector<IpAddress> addresses);
  // Addresses of all dialled peers as far as they are known; the routing side always bypasses them.
  std::vector<SocketAddress> peer_endpoints() const;
  // What is known of one of Wanted::transports, as far as this node has a route there.
  std::vector<SocketAddress> addresses_of(const HostPort& transport) const;
  // Where we dial the peer; none: not resolved yet.
  std::optional<SocketAddress> endpoint_of(const std::string& peer) const;

  // Takes effect at once and keeps the session: WireGuard only learns another address. None: the
  // endpoint itself. Peers that are not dialled are ignored.
  void set_detour(const std::string& peer, std::optional<Detour> detour);
  // What peers are told of this node as an exit, with their echoes.
  void set_exit_word(const std::optional<ExitWord>& word) { responder_.set_exit_word(word); }
  // What both sides of the peer's transports prove themselves with.
  Result<TransportKey> transport_key_of(const std::string& peer) const;

  std::vector<TunnelStatus> status() const;
  std::vector<PeerReach> peers() const;
  std::optional<PublicKey> public_key() const { return public_key_; }

  // The newest with any peer, by the wall clock of then.
  std::optional<std::chrono::system_clock::time_point> last_handshake() const;

  std::optional<KeyStatus> key_status() const;  // none before the first apply()

  // `oceanid keys rotate`: prepares the next key, or says how far it is; an answer for the
  // operator.
  struct RotateRequest {
    bool abandon = false;
    bool force = false;  // turn although a peer has not accepted the key
  };
  awaitable<Result<std::string>> rotate(RotateRequest request);

  // Something happened to links: look now instead of within a second.
  void poke();
  awaitable<Result<void>> force_handshake(std::string peer);
  // For so long from now the echoes to a dialled peer are neither sent nor heard.
  void hold_deaf(const std::string& peer, std::chrono::milliseconds duration);

  // Ends our work. With keep_devices tunnels go on and are adopted by the next start.
  awaitable<void> stop(bool keep_devices);
  // For `oceanid down`: stop, then remove every oc-* device, also leftovers of earlier runs.
  awaitable<Result<void>> remove_all();

 private:
  using Clock = std::chrono::steady_clock;
  struct Device {
    DesiredDevice desired;
    bool applied = false;  // the device stands
    bool due = true;       // the backend is to be told `desired`; what stands goes on meanwhile
    std::optional<DeviceSnapshot> snapshot;
    std::string error;
    unsigned failed_snapshots = 0;
    Clock::time_point applied_at{};
    Clock::time_point retry_at{};
    std::chrono::milliseconds backoff{0};
    Clock::time_point quiet_since{};       // nothing received and no echo since then
    Clock::time_point handshake_due_at{};  // the next forced handshake, if it stays quiet
    std::chrono::milliseconds handshake_pause{0};
    std::shared_ptr<EchoProber> prober;  // shared with the coroutine that runs it
  };

  struct Secrets {
    PrivateKey private_key;
    PublicKey public_key;
    PresharedKeys preshared_keys;

    bool operator==(const Secrets&) const = default;
  };

  // One peer on one device while its configuration names two keys.
  struct PeerTurn {
    std::string peer;
    PublicKey first;
    PublicKey next;
    bool turned = false;
    KeyTurn watch;
    const PublicKey& in_force() const { return turned ? next : first; }
    const PublicKey& waiting() const { return turned ? first : next; }
  };

  // manager_rotation_linux.cpp
  std::string key_path(const TunnelSettings& settings) const;
  Result<void> sync_rotation();
  void sync_turns();
  std::set<std::pair<IfName, std::string>> turned() const;
  std::vector<std::string> peer_names() const;
  void remember_key(const std::string& peer, const PublicKey& key);
  awaitable<void> turn_keys(IfName name);
  awaitable<void> follow(std::string peer);
  std::optional<RotationMessage> on_key_message(const IfName& device, const IpAddress& from,
                                                const RotationMessage& message);
  RotationMessage answer_about(const PeerSettings& peer, const PublicKey& key) const;
  void refuse(const std::string& peer, const char* why);
  void tell_peers(RotationType type);
  awaitable<void> advance_rotation();
  awaitable<bool> carry_out(Rotation::Step step);
  awaitable<Result<void>> use_key_on_disk();
  Result<void> prepare_rotation();
  std::string rotation_text() const;
  void warn_about_age();

  // manager_linux.cpp
  Result<Secrets> load_secrets(const TunnelSettings& settings) const;
  Result<void> replan();
  ResolvedEndpoints choose_endpoints();
  void sync_prober(Device& device);
  void configure_responder();
  void configure_paths();
  void paths_changed();
  void note_traffic(const Device& device, const DeviceSnapshot& snapshot);
  awaitable<void> remove_strays();
  awaitable<void> maintain();
  awaitable<void> converge();
  awaitable<void> converge_device(IfName name);
  awaitable<void> refresh(IfName name);
  awaitable<void> revive(IfName name);
  static std::optional<std::chrono::milliseconds> known_pause(const Device& device);
  Clock::duration patience_with(const std::string& peer) const;
  void note_progress(Device& device, const DeviceSnapshot& snapshot) const;
  void lost(const IfName& name, std::string why);
  void postpone(Device& device);
  TunnelStatus status_of(const Device& device) const;
  void publish();
  Clock::time_point next_turn() const;

  asio::any_io_executor executor_;
  Options options_;
  Wanted wanted_;
  std::optional<Secrets> secrets_;
  std::optional<PublicKey> public_key_;
  std::function<void()> on_change_;
  EndpointBook book_;
  std::map<std::string, SocketAddress> chosen_;  // by HostPort text: where we dial
  std::map<std::string, Detour> detours_;        // by peer
  std::unique_ptr<Backend> backend_;
  std::map<IfName, Device> devices_;
  std::vector<IfName> to_remove_;
  std::vector<std::string> published_;  // one line for each device, to see what is new
  EchoResponder responder_;
  std::string responder_error_;  // as last logged
  PathKeeper paths_;
  Rotation rotation_;
  std::map<std::pair<IfName, std::string>, PeerTurn> turns_;  // by device and peer
  KeyBook key_book_;
  PresharedKey latch_;              // of keys that wait; random, new with every process
  std::set<std::string> followed_;  // peers that are about to turn
  std::uint64_t refused_ = 0;
  Clock::time_point refusal_logged_{};
  bool age_warned_ = false;
  AsyncLock lock_;  // held while devices change
  asio::steady_timer wake_;
  bool replan_due_ = false;
  bool poked_ = false;
  bool running_ = false;
  bool stopping_ = false;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
