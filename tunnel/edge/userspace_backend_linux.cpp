#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/core/uapi_codec.hpp"
#include "tunnel/core/wireguard_go_version.hpp"
#include "tunnel/edge/kernel_backend.hpp"
#include "tunnel/edge/receive_buffers.hpp"
#include "tunnel/edge/uapi_client.hpp"
#include "tunnel/edge/userspace_backend.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto start_patience = 5s;  // measured: 20 to 60 ms from exec to the socket
constexpr auto socket_poll = 5ms;
constexpr auto socket_look = 1s;
// 4 MiB gains little more (bench/tunnel), and lets packets wait for four times as long.
constexpr int receive_buffer = 1 << 20;
constexpr int log_batch = 64;                  // datagrams per turn of the event loop
constexpr unsigned log_lines_per_second = 10;  // errors of the data path can come per packet

void make_folder(const std::string& path) {
  std::error_code ignored;  // what then fails says more
  std::filesystem::create_directories(path, ignored);
}

}  // namespace

UserspaceBackend::UserspaceBackend(const asio::any_io_executor& executor, BackendOptions options,
                                   LostHandler on_lost)
    : options_(std::move(options)), on_lost_(std::move(on_lost)), tasks_(executor) {}

std::string UserspaceBackend::socket_path(const IfName& device) const {
  return options_.socket_dir + "/" + device.str() + ".sock";
}

std::string UserspaceBackend::pid_path(const IfName& device) const {
  return options_.run_dir + "/wireguard-go-" + device.str() + ".pid";
}

awaitable<Result<UserspaceBackend::Live>> UserspaceBackend::read(IfName device) {
  auto answer = co_await uapi_exchange(socket_path(device), std::string(uapi::get_request));
  if (!answer) co_return std::unexpected(std::move(answer.error()));
  auto reading = uapi::decode_get(device, answer->text);
  wipe(answer->text);
  if (!reading) co_return std::unexpected(std::move(reading.error()));
  Live live;
  live.reading = std::move(*reading);
  live.server = answer->server;
  co_return live;
}

awaitable<Result<void>> UserspaceBackend::write(IfName device, DeviceChange change) {
  auto answer = co_await uapi_exchange(socket_path(device), uapi::encode_set(change));
  if (!answer) co_return std::unexpected(std::move(answer.error()));
  auto done = uapi::decode_set_answer(answer->text);
  if (!done)
    co_return std::unexpected(std::move(done.error()).context("configuring " + device.str()));
  co_return done;
}

awaitable<Result<void>> UserspaceBackend::ensure(DesiredDevice device, PrivateKey key) {
  const IfName name = device.name;
  if (!managed_.contains(name)) {
    auto up = co_await bring_up(name, key);
    if (!up) co_return up;
  }
  auto live = co_await read(name);
  if (!live) co_return std::unexpected(std::move(live.error()));
  const auto managed = managed_.find(name);
  if (managed == managed_.end())
    co_return fail(Errc::closed, name.str() + " ended while it was set up");
  DeviceChange change = diff(device, key, live->reading, managed->second.intent);
  if (!change.empty()) {
    auto written = co_await write(name, std::move(change));
    if (!written) co_return written;
  }
  // The process may have ended during the wait.
  if (const auto again = managed_.find(name); again != managed_.end()) {
    again->second.intent = intent_of(device);
    again->second.desired = std::move(device);
  }
  co_return Result<void>();
}

awaitable<Result<void>> UserspaceBackend::bring_up(IfName device, PrivateKey key) {
  auto live = co_await read(device);
  // Our own daemon from before a restart; one without a key was not configured yet.
  if (live && (!live->reading.private_key || *live->reading.private_key == key))
    co_return adopt(device, live->server);
  // Silent, foreign key, or nobody: end what is recorded, then start afresh.
  auto ended = co_await end_recorded(device, live ? live->server : -1);
  if (!ended) co_return ended;
  if (::if_nametoindex(device.str().c_str()) != 0) {
    if (auto deleted = delete_link(device); !deleted) co_return deleted;
  }
  co_return co_await start(device);
}

Result<void> UserspaceBackend::adopt(const IfName& device, pid_t server) {
  const auto process = identify(server);
  if (!process)
    return fail(Errc::not_found, "cannot find the process behind " + socket_path(device));
  log::info("tunnel", "took over a running wireguard-go",
            {{"device", device.str()}, {"pid", std::to_string(server)}});
  take_over(device, *process, nullptr);
  return {};
}

void UserspaceBackend::take_over(const IfName& device, const ProcessIdentity& process, Log log) {
  make_folder(options_.run_dir);
  const auto written = write_file_atomically(pid_path(device), to_text(process), 0644);
  if (!written)
    log::warn("tunnel", "cannot record the pid of wireguard-go, ignoring",
              {{"device", device.str()}, {"error", written.error().what}});
  Managed& managed = managed_[device];
  managed = Managed();
  managed.process = process;
  tasks_.spawn("wireguard-go watch", watch_process(device, process, std::move(log)));
  tasks_.spawn("wireguard-go version", learn_version(device, process));
}

std::string UserspaceBackend::version(const IfName& device) const {
  const auto managed = managed_.find(device);
  return managed == managed_.end() ? std::string() : managed->second.version;
}

// What the running process is, not what is installed: an adopted one may be older.
awaitable<void> UserspaceBackend::learn_version(IfName device, ProcessIdentity process) {
  const auto words = co_await ask_version("/proc/" + std::to_string(process.pid) + "/exe");
  const auto version = words ? parse_wireguard_go_version(*words) : std::nullopt;
  const auto managed = managed_.find(device);
  if (!version || managed == managed_.end() || managed->second.process != process) co_return;
  managed->second.version = version->text;
  if (!lacks_offloads(*version) || std::exchange(warned_about_, version->text) == version->text)
    co_return;
  log::warn(
      "tunnel",
      "this wireguard-go is from before 0.0.20230223 and reaches a quarter of a current one's "
      "throughput; deploy/WIREGUARD.md says where to get one (tunnel.wireguard_go names it)",
      {{"version", version->text}});
}

// At each beat of the snapshots: the process opens its sockets when the link comes up and anew when
// its port changes, and tells nobody.
void UserspaceBackend::keep_sockets_wide(const IfName& device) {
  const auto managed = managed_.find(device);
  const auto now = std::chrono::steady_clock::now();
  if (managed == managed_.end() || now - managed->second.sockets_seen < socket_look) return;
  managed->second.sockets_seen = now;
  const auto widened =
      widen_receive_buffers(managed->second.process, receive_buffer, managed->second.wide_sockets);
  if (widened || widened.error().code == Errc::not_found || std::exchange(warned_of_sockets_, true))
    return;
  log::warn("tunnel",
            "wireguard-go's receive buffer stays small, and packets of bursts are lost; "
            "deploy/WIREGUARD.md names three remedies",
            {{"device", device.str()}, {"error", widened.error().what}});
}

awaitable<Result<void>> UserspaceBackend::start(IfName device) {
  make_folder(options_.socket_dir);
  auto started = start_daemon(options_.wireguard_go, device);
  if (!started) co_return std::unexpected(std::move(started.error()));
  const ProcessIdentity process = started->identity;
  const auto log = std::make_shared<asio::posix::stream_descriptor>(
      co_await asio::this_coro::executor, started->log.release());
  tasks_.spawn("wireguard-go log", copy_log(device, log));
  auto ready = co_await await_socket(device, process);
  if (!ready) {
    log->cancel();
    auto ended = co_await end_process(process);
    if (!ended) log::warn("tunnel", ended.error().what, {{"device", device.str()}});
    co_return ready;
  }
  log::info("tunnel", "started wireguard-go",
            {{"device", device.str()}, {"pid", std::to_string(process.pid)}});
  take_over(device, process, log);
  co_return Result<void>();
}

awaitable<Result<void>> UserspaceBackend::await_socket(IfName device, ProcessIdentity process) {
  const auto end = std::chrono::steady_clock::now() + start_patience;
  while (std::chrono::steady_clock::now() < end) {
    if (identify(process.pid) != process)
      co_return fail(Errc::closed, options_.wireguard_go + " could not create " + device.str() +
                                       "; its own words are in the log");
    const auto live = co_await read(device);
    if (live && live->server == process.pid) co_return Result<void>();
    co_await sleep_for(socket_poll);
  }
  co_return fail(Errc::timeout,
                 options_.wireguard_go + " opened no control socket for " + device.str());
}

awaitable<Result<void>> UserspaceBackend::end_recorded(IfName device, pid_t server) {
  std::vector<ProcessIdentity> found;
  if (const auto process = identify(server)) found.push_back(*process);
  if (const auto text = read_small_file(pid_path(device), 64)) {
    const auto recorded = parse_identity(*text);
    if (recorded && identify(recorded->pid) == recorded) found.push_back(*recorded);
  }
  for (const ProcessIdentity& process : found) {
    if (!runs_program(process.pid, options_.wireguard_go)) continue;
    auto ended = co_await end_process(process);
    if (!ended) co_return ended;
  }
  ::unlink(pid_path(device).c_str());
  ::unlink(socket_path(device).c_str());
  co_return Result<void>();
}

awaitable<Result<DeviceSnapshot>> UserspaceBackend::snapshot(IfName device) {
  auto live = co_await read(device);
  if (!live) co_return std::unexpected(std::move(live.error()));
  keep_sockets_wide(device);
  co_return std::move(live->reading.snapshot);
}

awaitable<Result<void>> UserspaceBackend::remove(IfName device) {
  pid_t server = -1;
  if (const auto managed = managed_.find(device); managed != managed_.end()) {
    server = managed->second.process.pid;
    managed_.erase(managed);  // first: its end is no loss
  } else if (const auto live = co_await read(device)) {
    server = live->server;
  }
  auto ended = co_await end_recorded(device, server);
  if (!ended) co_return ended;
  if (::if_nametoindex(device.str().c_str()) == 0) co_return Result<void>();
  co_return delete_link(device);
}

awaitable<std::vector<IfName>> UserspaceBackend::existing() {
  std::vector<IfName> names;
  const auto collect = [&](const std::string& folder, std::string_view before,
                           std::string_view after) {
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
      std::string file = entry.path().filename().string();
      if (!file.starts_with(before) || !file.ends_with(after)) continue;
      file = file.substr(before.size(), file.size() - before.size() - after.size());
      const auto name = IfName::parse(file);
      if (name && file.starts_with(device_prefix)) names.push_back(*name);
    }
  };
  collect(options_.socket_dir, "", ".sock");
  collect(options_.run_dir, "wireguard-go-", ".pid");
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  co_return names;
}

awaitable<Result<void>> UserspaceBackend::force_handshake(IfName device, PublicKey peer) {
  const auto now = std::chrono::steady_clock::now();
  const auto last = forced_.find({device, peer});
  if (last != forced_.end() && now - last->second < forced_handshake_pause)
    co_return fail(Errc::limit, "a handshake was forced less than half a second ago");
  const auto managed = managed_.find(device);
  if (managed == managed_.end()) co_return fail(Errc::not_found, device.str() + " is not running");
  const auto& peers = managed->second.desired.peers;
  const auto at = std::ranges::find(peers, peer, &DesiredPeer::public_key);
  if (at == peers.end()) co_return fail(Errc::not_found, "no such peer on " + device.str());
  // A copy: what was wanted may change while we wait for the device.
  const DesiredPeer wanted = *at;  // NOLINT(performance-unnecessary-copy-initialization)
  forced_[{device, peer}] = now;
  const auto live = co_await read(device);
  if (!live) co_return std::unexpected(live.error());
  const PeerSnapshot* present = live->reading.snapshot.find(peer);
  DeviceChange change =
      forced_handshake(wanted, present ? present->endpoint : std::optional<SocketAddress>());
  co_return co_await write(device, std::move(change));
}

awaitable<void> UserspaceBackend::watch_process(IfName device, ProcessIdentity process, Log log) {
  while (!co_await wait_for_end(process, 1h)) {
  }
  if (log) log->cancel();
  const auto managed = managed_.find(device);
  if (managed == managed_.end() || managed->second.process != process) co_return;  // removed by us
  managed_.erase(managed);
  ::unlink(pid_path(device).c_str());
  log::warn("tunnel", "wireguard-go ended by itself",
            {{"device", device.str()}, {"pid", std::to_string(process.pid)}});
  if (on_lost_) on_lost_(device);
}

// The end of the process does not show on a datagram socket, so whoever learns of it cancels the
// wait; what is queued by then is still copied.
awaitable<void> UserspaceBackend::copy_log(IfName device, Log log) {
  std::array<char, 1024> line{};
  auto window = std::chrono::steady_clock::now();
  unsigned in_window = 0;
  for (bool ended = false; !ended;) {
    auto [ec] = co_await log->async_wait(asio::posix::stream_descriptor::wait_read, as_result);
    ended = static_cast<bool>(ec);
    const auto now = std::chrono::steady_clock::now();
    if (now - window >= 1s) {
      window = now;
      in_window = 0;
    }
    for (int i = 0; i < log_batch; ++i) {
      const ssize_t size = ::recv(log->native_handle(), line.data(), line.size(), MSG_DONTWAIT);
      if (size <= 0) break;
      if (++in_window > log_lines_per_second) continue;
      std::string text(line.data(), static_cast<std::size_t>(size));
      while (text.ends_with('\n'))
        text.pop_back();
      log::warn("tunnel", "wireguard-go says",
                {{"device", device.str()}, {"line", std::move(text)}});
    }
  }
}

awaitable<void> UserspaceBackend::stop() {
  co_await tasks_.stop();
}

}  // namespace oceanid::tunnel
