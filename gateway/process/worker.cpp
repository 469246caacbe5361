#include "gateway/process/worker.hpp"

#include "gateway/admin/server.hpp"
#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/config/load.hpp"
#include "gateway/ipc/channel.hpp"
#include "gateway/ipc/messages.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "gateway/process/deep_probes.hpp"
#include "gateway/process/logging.hpp"
#include "gateway/process/name_lookup.hpp"
#include "gateway/process/own_ranges.hpp"
#include "gateway/process/privilege.hpp"
#include "gateway/process/proxy_threads.hpp"
#include "gateway/process/questions.hpp"
#include "gateway/process/worker_supervisor.hpp"
#include "proxy/edge/password_users.hpp"
#include "proxy/edge/runtime_check.hpp"

#include <algorithm>
#include <csignal>
#include <map>
#include <set>

#include <fmt/format.h>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto report_interval = 1s;
constexpr std::size_t log_queue_lines = 4096;  // half a second of access records at full speed

std::uint64_t open_files_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

class Worker {
 public:
  Worker(asio::io_context& io, UniqueFd channel)
      : io_(io),
        channel_(io.get_executor(), std::move(channel)),
        admin_(io, [this] { return view(); }),
        names_(io),
        probes_(io,
                [this](const ipc::Probes& probes) {
                  send(ipc::probes_frame, boost::json::value_from(probes));
                }),
        tasks_(io.get_executor()) {}

  void start() {
    tasks_.spawn("netd's messages", run());
    tasks_.spawn("netd writer", channel_.write_loop());
    tasks_.spawn("counters", report());
  }
  int exit_code() const { return exit_code_; }

 private:
  awaitable<void> run() {
    for (;;) {
      auto frame = co_await channel_.receive();
      if (!frame) {
        // netd is gone. What runs may finish; a new netd brings its own worker.
        log::warn("gateway", "netd is gone; finishing what runs", {{"why", frame.error().what}});
        // Probes and scrapes that came to us by chance would hear of the past.
        co_await admin_.stop();
        break;
      }
      if (frame->type == ipc::drain_frame) break;
      if (auto done = dispatch(std::move(*frame)); !done) {
        log::error("gateway", "a message from netd could not be used",
                   {{"error", done.error().what}});
        exit_code_ = 1;
        break;
      }
    }
    co_await finish();
  }

  Result<void> dispatch(ipc::Frame frame) {
    if (frame.type == ipc::listeners_frame) return take_listeners(std::move(frame));
    if (frame.type == ipc::configure_frame) return configure(std::move(frame));
    if (frame.type == ipc::exits_frame) {
      auto exits = ipc::decode<ExitTable>(frame.body, "exits");
      if (!exits) return std::unexpected(std::move(exits.error()));
      exits_ = std::make_shared<const ExitTable>(std::move(*exits));
      probes_.follow(exits_);
      if (threads_) threads_->apply(make_runtime(given_));
      return {};
    }
    if (frame.type == ipc::snapshot_frame) {
      auto snapshot = ipc::decode<ipc::GatewaySnapshot>(frame.body, "snapshot");
      if (!snapshot) return std::unexpected(std::move(snapshot.error()));
      snapshot_ = std::move(*snapshot);
      return {};
    }
    if (frame.type == ipc::resolve_frame) {
      auto resolve = ipc::decode<ipc::Resolve>(frame.body, "resolve");
      if (!resolve) return std::unexpected(std::move(resolve.error()));
      const auto before = std::exchange(endpoint_names_, std::move(resolve->names));
      urgent_names_ = std::move(resolve->urgent);
      if (before != endpoint_names_)
        start_lookups();
      else
        names_.hurry(urgent_names_);
      return {};
    }
    if (frame.type == ipc::question_frame) {
      auto question = ipc::decode<ipc::Question>(frame.body, "question");
      if (!question) return std::unexpected(std::move(question.error()));
      if (question->command == check_question) {
        auto checked = check(question->arguments, frame.fds);
        send(ipc::answer_frame,
             boost::json::value_from(ipc::Answer{
                 question->number, checked ? std::string() : checked.error().what, nullptr}));
        return {};
      }
      tasks_.spawn("question", answer(std::move(*question)));
      return {};
    }
    return fail(Errc::protocol, "unknown frame " + frame.type);
  }

  Result<void> take_listeners(ipc::Frame frame) {
    auto body = ipc::decode<ipc::Listeners>(frame.body, "listeners");
    if (!body) return std::unexpected(std::move(body.error()));
    if (body->tags.size() != frame.fds.size())
      return fail(Errc::protocol, "listeners: descriptors and names differ in number");
    for (std::size_t i = 0; i < body->tags.size(); ++i) {
      const std::string key = body->tags[i].key;
      if (in_use_.contains(key)) continue;  // a reload repeats what we serve already
      waiting_.insert_or_assign(key, std::pair(body->tags[i], std::move(frame.fds[i])));
    }
    return {};
  }

  // A configuration as netd sent it, not yet in force.
  struct Given {
    Config config;
    ipc::Configure message;
    std::shared_ptr<const proxy::Secrets> secrets;
  };

  static Result<Given> read_configuration(const boost::json::value& from,
                                          const std::vector<UniqueFd>& fds) {
    Given out;
    auto body = ipc::decode<ipc::Configure>(from, "configure");
    if (!body) return std::unexpected(std::move(body.error()));
    if (fds.size() != 1 + body->files.size())
      return fail(Errc::protocol, "configure: descriptors and files differ in number");
    auto text = ipc::read_fd(fds.front().get(), ipc::max_body_bytes);
    if (!text) return std::unexpected(std::move(text.error()));
    ParseContext context = parse_context(body->file);
    context.host_name = body->host_name;
    auto parsed = parse_or_default(*text, context);
    if (!parsed)  // netd parsed the very same text: only another build of us could disagree
      return fail(Errc::protocol, "configure: " + parsed.error().front().to_string(body->file));
    proxy::Secrets secrets;
    for (std::size_t i = 0; i < body->files.size(); ++i) {
      auto contents = ipc::read_fd(fds[i + 1].get(), ipc::max_body_bytes);
      if (!contents) return std::unexpected(std::move(contents.error()).context(body->files[i]));
      secrets.insert_or_assign(body->files[i], std::move(*contents));
    }
    out.config = std::move(*parsed);
    out.message = std::move(*body);
    out.secrets = std::make_shared<const proxy::Secrets>(std::move(secrets));
    return out;
  }

  // netd's question before it commits to a new configuration.
  Result<void> check(const boost::json::value& body, const std::vector<UniqueFd>& fds) const {
    auto given = read_configuration(body, fds);
    if (!given) return std::unexpected(std::move(given.error()));
    return proxy::check_runtime(*make_runtime(*given));
  }

  Result<void> configure(ipc::Frame frame) {
    auto given = read_configuration(frame.body, frame.fds);
    if (!given) return std::unexpected(std::move(given.error()));
    if (auto usable = proxy::check_runtime(*make_runtime(*given)); !usable) {
      send(ipc::ready_frame,
           boost::json::value_from(ipc::Ready{given->message.generation, usable.error().what}));
      return {};
    }
    given_ = std::move(*given);
    configure_log(given_.config.log, "worker");
    load_users();
    warn_of_small_budget();
    if (!threads_)
      threads_ = std::make_unique<ProxyThreads>(given_.message.cores, make_runtime(given_));
    else
      threads_->apply(make_runtime(given_));
    switch_listeners();
    start_lookups();
    probes_.apply(given_.config, make_runtime(given_));
    send(ipc::ready_frame, boost::json::value_from(ipc::Ready{given_.message.generation, {}}));
    return {};
  }

  std::shared_ptr<const proxy::Runtime> make_runtime(const Given& given) const {
    const Config& config = given.config;
    proxy::Runtime runtime;
    runtime.proxy = std::make_shared<const proxy::ProxySettings>(config.proxy);
    runtime.forwards = config.forwards;
    runtime.exits = exits_;
    runtime.exits_configured = !config.exits.empty();
    runtime.own_ranges = own_ranges(config, given.message.local_addresses, endpoint_addresses());
    runtime.secrets = given.secrets;
    runtime.budget = proxy::budget_for(open_files_limit(), given.message.cores, config.proxy.limits,
                                       proxy::speaks_tls(config.proxy));
    runtime.users = config.proxy.users_file ? users_ : nullptr;
    runtime.node = config.node;
    runtime.access_log = config.log.access;
    runtime.json = config.log.format == LogFormat::json;
    return std::make_shared<const proxy::Runtime>(std::move(runtime));
  }

  // check_runtime() has seen that the file is there and names somebody.
  void load_users() {
    if (!given_.config.proxy.users_file) return;
    auto users = proxy::parse_users(given_.secrets->at(*given_.config.proxy.users_file));
    for (const std::string& problem : users.problems)
      log::warn("proxy", fmt::format("{}: {}", *given_.config.proxy.users_file, problem));
    if (!users_) users_ = std::make_shared<proxy::PasswordUsers>();
    users_->set(std::move(users));
  }

  void warn_of_small_budget() const {
    const auto files = open_files_limit();
    const auto possible = proxy::budget_for(files, given_.message.cores, given_.config.proxy.limits,
                                            proxy::speaks_tls(given_.config.proxy))
                              .tunnels;
    if (possible < given_.config.proxy.limits.tunnels)
      log::warn("gateway",
                fmt::format("proxy.limits.tunnels asks for {} tunnels, but this process may open "
                            "{} files: at most {} tunnels; raise LimitNOFILE (ulimit -n)",
                            given_.config.proxy.limits.tunnels, files, possible));
  }

  // Serves what is new, stops listening on what the configuration no longer names. Tunnels live on.
  void switch_listeners() {
    const std::set<std::string> keep(given_.message.keys.begin(), given_.message.keys.end());
    std::vector<std::string> gone;
    for (const auto& key : in_use_)
      if (!keep.contains(key)) gone.push_back(key);
    threads_->close_listeners(gone);
    for (const auto& key : gone)
      in_use_.erase(key);
    std::map<std::uint32_t, std::vector<proxy::ListenSocket>> fresh;
    for (auto& [key, entry] : waiting_) {
      auto& [tag, fd] = entry;
      if (!keep.contains(key)) continue;
      if (tag.kind == "admin") {
        admin_.adopt(std::move(fd));
      } else if (auto socket = listen_socket(tag, fd.get())) {
        fd.release();
        fresh[tag.core].push_back(std::move(*socket));
      } else {
        continue;
      }
      in_use_.insert(key);
    }
    waiting_.clear();
    for (auto& [core, sockets] : fresh)
      threads_->adopt(core, std::move(sockets));
  }

  std::optional<proxy::ListenSocket> listen_socket(const ipc::ListenerTag& tag, int fd) const {
    proxy::ListenSocket out;
    out.key = tag.key;
    out.fd = fd;
    if (tag.kind == "proxy") {
      for (const auto& listener : given_.config.proxy.listeners)
        if (listener.bind.to_string() == tag.bind) {
          out.what = listener;
          return out;
        }
    }
    for (const auto& forward : given_.config.forwards)
      if (tag.kind == "forward" && forward.bind.to_string() == tag.bind) {
        out.what = forward;
        return out;
      }
    return std::nullopt;
  }

  void start_lookups() {
    if (!given_.config.tunnel) return;
    names_.start(endpoint_names_, *given_.config.tunnel, [this](const ipc::Resolved& resolved) {
      remember_endpoint(resolved);
      send(ipc::resolved_frame, boost::json::value_from(resolved));
    });
    names_.hurry(urgent_names_);
  }

  // Nodes, so nobody's destination: the guard must know them as soon as they are known.
  void remember_endpoint(const ipc::Resolved& resolved) {
    auto& known = endpoints_[resolved.name];
    if (known == resolved.addresses) return;
    known = resolved.addresses;
    if (threads_) threads_->apply(make_runtime(given_));
  }

  std::vector<IpAddress> endpoint_addresses() const {
    std::vector<IpAddress> out;
    for (const auto& name : endpoint_names_)
      if (const auto known = endpoints_.find(name); known != endpoints_.end())
        out.insert(out.end(), known->second.begin(), known->second.end());
    return out;
  }

  awaitable<void> answer(ipc::Question question) {
    ipc::Answer out{question.number, {}, nullptr};
    if (threads_ && !finishing_) {
      auto result = co_await answer_question(*threads_, std::move(question.command),
                                             std::move(question.arguments));
      if (result)
        out.result = std::move(*result);
      else
        out.error = std::move(result.error().what);
    } else {
      out.error = "the worker has no configuration yet, or is about to end";
    }
    send(ipc::answer_frame, boost::json::value_from(out));
  }

  awaitable<void> report() {
    for (;;) {
      co_await sleep_for(report_interval);
      if (!threads_) continue;
      const auto stats = threads_->snapshot();
      ipc::Counters counters;
      counters.tunnels_open = stats.tunnels_open;
      for (const auto& entry : stats.requests)
        counters.requests += entry.second;
      counters.bytes_up = stats.bytes_up;
      counters.bytes_down = stats.bytes_down;
      send(ipc::counters_frame, boost::json::value_from(counters));
    }
  }

  awaitable<void> finish() {
    finishing_ = true;
    if (threads_) co_await threads_->drain(given_.config.proxy.timeouts.drain);
    co_await names_.stop();
    co_await probes_.stop();
    co_await admin_.stop();
    threads_.reset();
    channel_.close();
    io_.stop();
  }

  admin::View view() {
    admin::View out;
    out.gateway = snapshot_;
    if (threads_) out.proxy = threads_->snapshot();
    out.lost_log_lines = log::lost_lines();
    out.accepting = threads_ != nullptr && !finishing_;
    out.loops_beat = threads_ == nullptr || threads_->all_beat();
    return out;
  }

  void send(std::string_view type, boost::json::value body) {
    ipc::Frame frame;
    frame.type = type;
    frame.body = std::move(body);
    // A netd that does not read is about to replace us; its EOF, not this loss, is the signal.
    static_cast<void>(channel_.send(std::move(frame)).has_value());
  }

  asio::io_context& io_;
  ipc::Channel channel_;
  admin::Server admin_;
  NameLookup names_;
  DeepProbes probes_;
  TaskGroup tasks_;
  Given given_;
  std::shared_ptr<proxy::PasswordUsers> users_;
  std::vector<std::string> endpoint_names_;
  std::vector<std::string> urgent_names_;  // of these: their tunnels do not answer
  std::map<std::string, std::vector<IpAddress>> endpoints_;  // by name, as last resolved
  std::shared_ptr<const ExitTable> exits_ = std::make_shared<const ExitTable>();
  ipc::GatewaySnapshot snapshot_;
  std::map<std::string, std::pair<ipc::ListenerTag, UniqueFd>> waiting_;
  std::set<std::string> in_use_;
  std::unique_ptr<ProxyThreads> threads_;
  bool finishing_ = false;
  int exit_code_ = 0;
};

}  // namespace

int worker_main(UniqueFd channel, bool started_as_root) {
  ::prctl(PR_SET_NAME, "oceanid-worker");
  std::signal(SIGPIPE, SIG_IGN);
  forbid_core_files();
  if (auto verified = verify_unprivileged(started_as_root); !verified) {
    log::error("gateway", "refusing to run", {{"error", verified.error().what}});
    return 1;
  }
  if (auto restricted = restrict_system_calls(); !restricted) {
    log::error("gateway", "refusing to run", {{"error", restricted.error().what}});
    return 1;
  }
  log::write_in_background(log_queue_lines);
  asio::io_context io(1);
  Worker worker(io, std::move(channel));
  worker.start();
  io.run();
  // The loops have ended and nothing is left to save: skip the destructors of cancelled work.
  log::flush(1s);
  ::_exit(worker.exit_code());
}

}  // namespace oceanid::process
