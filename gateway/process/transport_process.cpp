#include "gateway/process/transport_process.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/ipc/channel.hpp"
#include "gateway/ipc/transport_messages.hpp"
#include "gateway/process/logging.hpp"
#include "gateway/process/privilege.hpp"
#include "tunnel/edge/transport_acceptor.hpp"
#include "tunnel/edge/transport_dialler.hpp"

#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <utility>

#include <openssl/ssl.h>

#include <sys/prctl.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto report_interval = 1s;
constexpr auto socket_patience = 5s;
constexpr std::size_t log_queue_lines = 512;

tunnel::TlsMaterial material_of(const ipc::TransportMaterial& from) {
  return {from.certificate, from.key, from.authority};
}

class TransportProcess final : public tunnel::TransportHost {
 public:
  TransportProcess(asio::io_context& io, UniqueFd channel)
      : io_(io),
        channel_(io.get_executor(), std::move(channel)),
        acceptor_(io.get_executor(), *this, {}),
        tasks_(io.get_executor()) {}

  void start() {
    tasks_.spawn("netd's messages", run());
    tasks_.spawn("netd writer", channel_.write_loop());
    tasks_.spawn("counters", report());
  }
  int exit_code() const { return exit_code_; }

  awaitable<Result<UniqueFd>> socket(tunnel::SocketPurpose purpose, std::string peer) override {
    Wanted wanted(io_);
    const std::uint64_t number = ++last_wanted_;
    wanted_.emplace(number, &wanted);
    struct Forget {
      std::map<std::uint64_t, Wanted*>& all;
      std::uint64_t number;
      ~Forget() { all.erase(number); }
    };
    const Forget forget{wanted_, number};
    send(ipc::transport_want_frame,
         boost::json::value_from(
             ipc::TransportWant{number, static_cast<std::uint32_t>(purpose), std::move(peer)}));
    wanted.arrived.expires_after(socket_patience);
    if (!wanted.answer) static_cast<void>(co_await wanted.arrived.async_wait(as_result));
    if (!wanted.answer) co_return fail(Errc::timeout, "netd gave no socket");
    co_return std::move(*wanted.answer);
  }

  void on_links(const std::string& peer, tunnel::Transport rung, std::size_t links) override {
    send(ipc::transport_links_frame, boost::json::value_from(ipc::TransportLinks{
                                         peer, static_cast<std::uint32_t>(rung), links}));
  }

  void on_answer(const std::string& peer, tunnel::Transport rung) override {
    send(ipc::transport_answer_frame,
         boost::json::value_from(ipc::TransportAnswer{peer, static_cast<std::uint32_t>(rung)}));
  }

  void on_trouble(const std::string& peer, tunnel::Transport rung,
                  const std::string& why) override {
    send(ipc::transport_trouble_frame, boost::json::value_from(ipc::TransportTrouble{
                                           peer, static_cast<std::uint32_t>(rung), why}));
  }

 private:
  struct Wanted {
    explicit Wanted(asio::io_context& io) : arrived(io) {}
    asio::steady_timer arrived;  // cancelled by the answer
    std::optional<Result<UniqueFd>> answer;
  };

  awaitable<void> run() {
    for (;;) {
      auto frame = co_await channel_.receive();
      if (!frame) break;  // netd is gone; the next one brings its own transport
      Result<void> done;
      if (frame->type == ipc::transport_configure_frame)
        done = co_await configure(std::move(*frame));
      else if (frame->type == ipc::transport_order_frame)
        done = order(frame->body);
      else if (frame->type == ipc::transport_socket_frame)
        done = take_socket(std::move(*frame));
      else
        done = fail(Errc::protocol, "unknown frame " + frame->type);
      if (!done) {
        log::error("tunnel", "the transport cannot go on", {{"error", done.error().what}});
        exit_code_ = 1;
        break;
      }
    }
    io_.stop();
  }

  awaitable<Result<void>> configure(ipc::Frame frame) {
    auto body = ipc::decode<ipc::TransportConfigure>(frame.body, "transport-configure");
    if (!body) co_return std::unexpected(std::move(body.error()));
    const std::size_t for_accept = body->accept_at.empty() ? 0 : 2;
    if (frame.fds.size() != body->dials.size() + for_accept)
      co_return fail(Errc::protocol, "transport-configure: the number of descriptors is wrong");
    configure_log(body->log_level, body->log_json, "transport");
    std::map<std::string, std::unique_ptr<tunnel::TransportDialler>> former;
    former.swap(diallers_);
    for (std::size_t i = 0; i < body->dials.size(); ++i) {
      auto settings = settings_of(body->dials[i]);
      if (!settings) co_return std::unexpected(std::move(settings.error()));
      auto before = former.extract(settings->peer);
      if (before && before.mapped()->settings() == *settings) {
        diallers_.insert(std::move(before));
        continue;
      }
      if (before) co_await before.mapped()->stop();
      const std::string peer = settings->peer;
      auto made = tunnel::TransportDialler::make(io_.get_executor(), std::move(*settings),
                                                 std::move(frame.fds[i]), *this);
      if (!made) co_return std::unexpected(std::move(made.error()));
      (*made)->start();
      diallers_.emplace(peer, std::move(*made));
    }
    for (auto& [peer, dialler] : former)
      co_await dialler->stop();
    if (for_accept == 0) co_return Result<void>();
    co_return accept(*body, std::move(frame.fds[body->dials.size()]),
                     std::move(frame.fds[body->dials.size() + 1]));
  }

  static Result<tunnel::DialSettings> settings_of(const ipc::TransportDial& dial) {
    tunnel::DialSettings out;
    const auto key = tunnel::TransportKey::from_hex(dial.key);
    if (!key) return fail(Errc::protocol, "transport-configure: a key that is none");
    out.peer = dial.peer;
    out.key = *key;
    out.host = dial.host;
    out.material = material_of(dial.material);
    out.proxy_target = dial.proxy_target;
    out.authorization = dial.authorization;
    return out;
  }

  Result<void> accept(const ipc::TransportConfigure& body, UniqueFd listener, UniqueFd responder) {
    std::vector<tunnel::AcceptedPeer> peers;
    std::vector<tunnel::TransportKey> keys;
    for (const auto& one : body.accept_peers) {
      const auto key = tunnel::TransportKey::from_hex(one.key);
      if (!key) return fail(Errc::protocol, "transport-configure: a key that is none");
      peers.push_back({one.peer, *key});
      keys.push_back(*key);
    }
    if (auto done = acceptor_.configure(material_of(body.accept_material), std::move(peers)); !done)
      return done;
    if (!responder_) {
      acceptor_.listen(std::move(listener));
      responder_ =
          std::make_unique<tunnel::ReachResponder>(io_.get_executor(), std::move(responder));
      tasks_.spawn("UDP responder", responder_->run());
    }
    responder_->set_keys(std::move(keys));
    return {};
  }

  Result<void> order(const boost::json::value& from) {
    auto body = ipc::decode<ipc::TransportOrder>(from, "transport-order");
    if (!body) return std::unexpected(std::move(body.error()));
    const auto dialler = diallers_.find(body->peer);
    if (dialler != diallers_.end())
      dialler->second->order({body->dial_tls, body->dial_proxied, body->deaf,
                              std::chrono::nanoseconds(body->probe_every_ns)});
    return {};
  }

  Result<void> take_socket(ipc::Frame frame) {
    auto body = ipc::decode<ipc::TransportSocket>(frame.body, "transport-socket");
    if (!body) return std::unexpected(std::move(body.error()));
    const auto wanted = wanted_.find(body->number);
    if (wanted == wanted_.end()) return {};  // it came after our patience
    if (body->error.empty() && frame.fds.size() == 1)
      wanted->second->answer.emplace(std::move(frame.fds.front()));
    else
      wanted->second->answer.emplace(fail(Errc::io, body->error));
    wanted->second->arrived.cancel();
    return {};
  }

  awaitable<void> report() {
    for (;;) {
      if (co_await sleep_for(report_interval)) co_return;
      const auto counters = acceptor_.counters();
      ipc::TransportCounters out{
          counters.accepted, counters.refused, counters.sessions, counters.connections, {}};
      for (const auto& [peer, dialler] : diallers_)
        out.dropped.push_back({peer, dialler->counters().dropped});
      send(ipc::transport_counters_frame, boost::json::value_from(out));
    }
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
  std::map<std::string, std::unique_ptr<tunnel::TransportDialler>> diallers_;
  tunnel::TransportAcceptor acceptor_;
  std::unique_ptr<tunnel::ReachResponder> responder_;
  std::map<std::uint64_t, Wanted*> wanted_;
  std::uint64_t last_wanted_ = 0;
  int exit_code_ = 0;
  TaskGroup tasks_;
};

}  // namespace

int transport_main(UniqueFd channel, bool started_as_root) {
  ::prctl(PR_SET_NAME, "oceanid-tls");
  std::signal(SIGPIPE, SIG_IGN);
  OPENSSL_init_ssl(0, nullptr);  // reads its configuration file, while that is allowed
  forbid_core_files();
  if (auto verified = verify_unprivileged(started_as_root); !verified) {
    log::error("tunnel", "refusing to run", {{"error", verified.error().what}});
    return 1;
  }
  if (auto restricted = restrict_system_calls(SystemCalls::without_new_sockets); !restricted) {
    log::error("tunnel", "refusing to run", {{"error", restricted.error().what}});
    return 1;
  }
  log::write_in_background(log_queue_lines);
  asio::io_context io(1);
  TransportProcess process(io, std::move(channel));
  process.start();
  io.run();
  // Nothing is left to save: skip the destructors of cancelled work.
  log::flush(1s);
  ::_exit(process.exit_code());
}

}  // namespace oceanid::process
