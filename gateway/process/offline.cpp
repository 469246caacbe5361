#include "gateway/process/offline.hpp"

#include "gateway/base/runtime/asio.hpp"
#include "gateway/config/load.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/state_files.hpp"
#include "routing/core/plan.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/reconciler.hpp"
#include "tunnel/edge/backend.hpp"
#include "tunnel/edge/kernel_backend.hpp"

#include <exception>
#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>

namespace oceanid::process {
namespace {

// Of whichever `run` would take; an error is one for `run` to tell.
std::string backend_here(const Config& config) {
  if (!config.tunnel || config.tunnel->backend == tunnel::BackendChoice::userspace) return {};
  return tunnel::KernelBackend::probe() ? "kernel" : std::string();
}

// Runs one coroutine to its end on a loop of its own.
template <typename T>
Result<T> run_alone(asio::io_context& io, awaitable<Result<T>> task) {
  std::optional<Result<T>> out;
  asio::co_spawn(io, std::move(task), [&out](const std::exception_ptr& failure, Result<T> result) {
    if (!failure) out.emplace(std::move(result));
  });
  io.run();
  if (out) return std::move(*out);
  return fail(Errc::io, "interrupted");
}

struct Here {
  asio::io_context io{1};
  std::unique_ptr<routing::LinuxKernel> kernel;
  std::unique_ptr<routing::Reconciler> reconciler;
};

Result<std::unique_ptr<Here>> open_here(const std::string& state_dir) {
  auto here = std::make_unique<Here>();
  auto kernel = routing::LinuxKernel::open(here->io.get_executor());
  if (!kernel) return std::unexpected(std::move(kernel.error()));
  here->kernel = std::move(*kernel);
  here->reconciler =
      std::make_unique<routing::Reconciler>(here->io.get_executor(), *here->kernel, state_dir);
  return here;
}

Result<routing::Inputs> inputs_here(const Config& config, Here& here) {
  auto facts = here.kernel->facts();
  if (!facts) return std::unexpected(std::move(facts.error()));
  const std::vector<SocketAddress> endpoints = literal_endpoints(config);
  // As if the first exit were proven: that is what the operator wants to see.
  ExitTable exits;
  for (const auto& exit : config.exits) {
    ExitState state;
    state.name = exit.name;
    const auto device = exit.peer   ? tunnel::device_of_peer(*exit.peer)
                        : exit.self ? config.serve_exit->uplink
                                    : *exit.interface;
    state.device = device;
    state.ipv4 = exit.peer ? carries(config, *exit.peer, Family::v4) : true;
    state.ipv6 = exit.peer ? carries(config, *exit.peer, Family::v6)
                           : routing::find_default(*facts, Family::v6, device) != nullptr;
    exits.exits.push_back(std::move(state));
  }
  if (!exits.exits.empty()) exits.active = 0;
  return routing_inputs(config, *facts, planned_tunnels(config, backend_here(config)), endpoints,
                        exits);
}

}  // namespace

Result<std::string> plan_offline(const Config& config) {
  auto here = open_here(config.state_dir);
  if (!here) return std::unexpected(std::move(here.error()));
  auto inputs = inputs_here(config, **here);
  if (!inputs) return std::unexpected(std::move(inputs.error()));
  std::string out;
  for (const auto& conflict : routing::conflicts(*inputs, own_session()))
    out += "warning: " + conflict + "\n";
  auto text = run_alone((*here)->io, (*here)->reconciler->plan(routing::plan(*inputs)));
  if (!text) return std::unexpected(std::move(text.error()));
  return out + *text;
}

Result<std::string> install_guard(const std::string& config_file) {
  // Without a file: the state directory of the default configuration, where `run` left the closed
  // state.
  Config config = default_config(parse_context({}));
  std::string problem;  // a file that is broken now does not open what the last good one closed
  if (!config_file.empty()) {
    LoadedConfig loaded = load_config(config_file);
    if (loaded.config)
      config = std::move(*loaded.config);
    else
      problem = loaded.problems.front().to_string(loaded.file);
  }
  auto here = open_here(config.state_dir);
  if (!here) return std::unexpected(std::move(here.error()));
  std::optional<routing::NetworkState> state;
  if (auto last = (*here)->reconciler->load_last_good()) {
    state = std::move(*last);
  } else if (!problem.empty()) {
    return fail(Errc::invalid_argument,
                fmt::format("{}; and no closed state is kept in {}", problem, config.state_dir));
  } else if (config_file.empty()) {
    return fail(
        last.error().code,
        fmt::format("no closed state is kept in {} yet: the gateway has not run here; name its "
                    "configuration with -c FILE ({})",
                    config.state_dir, last.error().what));
  } else {
    auto inputs = inputs_here(config, **here);
    if (!inputs) return std::unexpected(std::move(inputs.error()));
    state = routing::guard_plan(*inputs);
  }
  if (auto made = ensure_folder(config.state_dir, 0700); !made)
    return std::unexpected(std::move(made.error()));
  auto applied = run_alone((*here)->io, (*here)->reconciler->apply(std::move(*state)));
  if (!applied) return std::unexpected(std::move(applied.error()));
  return fmt::format("the kill switch is in force ({} changes)", applied->changes);
}

Result<std::string> take_down_offline(const Config& config) {
  auto here = open_here(config.state_dir);
  if (!here) return std::unexpected(std::move(here.error()));
  tunnel::BackendOptions options;
  if (config.tunnel) options.wireguard_go = config.tunnel->wireguard_go;
  if (config.run_dir) options.run_dir = *config.run_dir;
  if (auto removed =
          run_alone((*here)->io, tunnel::remove_all_devices((*here)->io.get_executor(), options));
      !removed)
    return std::unexpected(std::move(removed.error()));
  (*here)->io.restart();
  auto report = run_alone((*here)->io, (*here)->reconciler->down());
  if (!report) return std::unexpected(std::move(report.error()));
  std::string text =
      fmt::format("everything of ours is gone from the kernel ({} changes)", report->changes);
  for (const auto& kept : report->kept)
    text += "\n" + kept;
  return text;
}

}  // namespace oceanid::process
