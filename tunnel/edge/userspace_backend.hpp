#pragma once
// WireGuard in wireguard-go processes, one per device, driven over their UAPI sockets.
//
// A process is found again after our own restart by asking the socket: if it answers with our
// private key it is adopted and its tunnel is never interrupted; with another key it is ended (pid
// from SO_PEERCRED or the pid file) and replaced. When a process ends by itself (its TUN link was
// deleted, it crashed) the LostHandler hears of it; the manager then calls ensure() again, with its
// backoff.

#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/diff.hpp"
#include "tunnel/edge/backend.hpp"
#include "tunnel/edge/daemon.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace oceanid::tunnel {

class UserspaceBackend final : public Backend {
 public:
  UserspaceBackend(const asio::any_io_executor& executor, BackendOptions options,
                   LostHandler on_lost);

  std::string_view kind() const override { return "userspace"; }
  std::string version(const IfName& device) const override;
  awaitable<Result<void>> ensure(DesiredDevice device, PrivateKey key) override;
  awaitable<Result<DeviceSnapshot>> snapshot(IfName device) override;
  awaitable<Result<void>> remove(IfName device) override;
  awaitable<std::vector<IfName>> existing() override;
  awaitable<Result<void>> force_handshake(IfName device, PublicKey peer) override;
  awaitable<void> stop() override;

 private:
  struct Managed {
    ProcessIdentity process;
    DesiredDevice desired;
    EndpointIntent intent;
    std::string version;
    std::set<std::uint64_t> wide_sockets;  // inodes
    std::chrono::steady_clock::time_point sockets_seen;
  };
  struct Live {
    DeviceReading reading;
    pid_t server = -1;
  };

  awaitable<Result<Live>> read(IfName device);
  awaitable<Result<void>> write(IfName device, DeviceChange change);
  awaitable<Result<void>> bring_up(IfName device, PrivateKey key);
  awaitable<Result<void>> start(IfName device);
  awaitable<Result<void>> await_socket(IfName device, ProcessIdentity process);
  awaitable<Result<void>> end_recorded(IfName device, pid_t server);
  Result<void> adopt(const IfName& device, pid_t server);
  using Log = std::shared_ptr<asio::posix::stream_descriptor>;  // of its reader and of who ends it
  void take_over(const IfName& device, const ProcessIdentity& process, Log log);
  awaitable<void> watch_process(IfName device, ProcessIdentity process, Log log);
  void keep_sockets_wide(const IfName& device);
  awaitable<void> learn_version(IfName device, ProcessIdentity process);
  awaitable<void> copy_log(IfName device, Log log);
  std::string socket_path(const IfName& device) const;
  std::string pid_path(const IfName& device) const;

  BackendOptions options_;
  LostHandler on_lost_;
  std::map<IfName, Managed> managed_;  // devices whose process is alive as far as we know
  std::string warned_about_;           // a version
  bool warned_of_sockets_ = false;
  std::map<std::pair<IfName, PublicKey>, std::chrono::steady_clock::time_point> forced_;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
