#include "gateway/process/launcher_client.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/ipc/messages.hpp"

#include <utility>

#include <fcntl.h>

namespace oceanid::process {

LauncherClient::LauncherClient(asio::io_context& io, UniqueFd launcher)
    : fd_(launcher.get()),
      channel_(io.get_executor(), std::move(launcher)),
      tasks_(io.get_executor()) {}

void LauncherClient::start() {
  tasks_.spawn("launcher messages", messages());
  tasks_.spawn("launcher writer", channel_.write_loop());
}

awaitable<void> LauncherClient::stop() {
  co_await tasks_.stop();
}

awaitable<void> LauncherClient::messages() {
  for (;;) {
    auto frame = co_await channel_.receive();
    if (!frame) {
      gone_ = true;
      if (!ending_)
        log::error("gateway", "the launcher is gone: when the worker ends, so does the gateway",
                   {{"error", frame.error().what}});
      co_return;
    }
    if (frame->type == ipc::started_frame) {
      if (auto started = ipc::decode<ipc::Started>(frame->body, "started")) {
        log::info("gateway", started->kind + " started", {{"pid", std::to_string(started->pid)}});
        running_.insert_or_assign(started->pid, std::move(started->kind));
      }
    } else if (frame->type == ipc::exited_frame) {
      if (auto exited = ipc::decode<ipc::Exited>(frame->body, "exited")) {
        const auto known = running_.extract(exited->pid);
        log::write(ending_ ? log::Level::info : log::Level::warn, "gateway",
                   (known ? known.mapped() : std::string("child")) + " ended",
                   {{"pid", std::to_string(exited->pid)}, {"how", exited->how}});
      }
    }
  }
}

Result<UniqueFd> LauncherClient::launch(std::string_view kind, const std::string& user) {
  auto pair = ipc::make_socketpair();
  if (!pair) return std::unexpected(std::move(pair.error()));
  ipc::Frame order;
  order.type = ipc::start_child_frame;
  order.body = boost::json::value_from(ipc::StartChild{std::string(kind), user});
  order.fds.push_back(std::move(pair->second));
  order.fds.emplace_back(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
  if (!order.fds.back()) return fail_errno("open our own program");
  if (auto sent = channel_.send(std::move(order)); !sent)
    return std::unexpected(
        std::move(sent.error()).context("ask the launcher for a " + std::string(kind)));
  return std::move(pair->first);
}

}  // namespace oceanid::process
