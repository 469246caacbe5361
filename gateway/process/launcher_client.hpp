#pragma once
// netd's end of the launcher's channel, for all whose children it starts. Says in the log what
// started and how it ended. Lives on netd's event loop.

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/ipc/channel.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace oceanid::process {

class LauncherClient {
 public:
  LauncherClient(asio::io_context& io, UniqueFd launcher);

  void start();
  // Asks for a child of that kind (launcher.hpp); our end of the channel to it.
  Result<UniqueFd> launch(std::string_view kind, const std::string& user);
  bool gone() const { return gone_; }
  // From now on children are expected to end.
  void expect_ends() { ending_ = true; }
  awaitable<void> stop();
  int fd() const { return fd_; }  // for a successor of this process (upgrade); call after stop()

 private:
  awaitable<void> messages();

  int fd_;
  ipc::Channel channel_;
  std::map<std::int64_t, std::string> running_;  // kind by pid
  bool gone_ = false;
  bool ending_ = false;
  TaskGroup tasks_;
};

}  // namespace oceanid::process
