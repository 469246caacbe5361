// The harness itself (see node_harness.hpp); named so that it is compiled into the test program.
#include "node_harness.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/kernel_backend.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/datagram_protocol.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::tunnel::testing {
namespace {

using Channel = asio::local::datagram_protocol::socket;  // SOCK_SEQPACKET underneath

// What the routing side does with a status: address, MTU, link up, a route to each peer's address.
// The status also changes with every echo: what has been done once is not done again, or a slow
// machine is so busy with it that echoes are lost.
void route(const TunnelManager& manager, const TunnelManager::Wanted& wanted,
           std::string& done_last) {
  std::string commands;
  for (const TunnelStatus& tunnel : manager.status()) {
    if (!tunnel.present) continue;
    const std::string& device = tunnel.device.str();
    commands += ": " + std::to_string(::if_nametoindex(device.c_str())) + ";";  // made anew: again
    for (const IpAddress& address : wanted.settings.addresses)
      commands +=
          "ip address replace " + Prefix::host(address).to_string() + " dev " + device + ";";
    commands += "ip link set " + device + " mtu " + std::to_string(tunnel.mtu) + " up;";
    for (const PeerStatus& peer : tunnel.peers)
      for (const PeerSettings& settings : wanted.settings.peers)
        if (settings.name == peer.name)
          for (const IpAddress& address : settings.addresses)
            commands += "ip route replace " + Prefix::host(address).to_string() + " dev " + device +
                        " metric " + (tunnel.hub ? "200" : "100") + ";";
  }
  if (commands == done_last) return;
  done_last = commands;
  if (std::system(("exec 2>/dev/null;" + commands).c_str()) == -1) std::abort();
}

std::string describe(const TunnelManager& manager) {
  std::ostringstream out;
  for (const TunnelStatus& tunnel : manager.status()) {
    const PeerStatus& peer = tunnel.peers.front();
    out << tunnel.device.str() << ' ' << tunnel.present << ' '
        << (carries(tunnel.echo) ? "up" : to_string(tunnel.echo)) << ' ' << tunnel.proof.usable
        << ' ' << tunnel.echo_sent << ' ' << tunnel.echo_answered << ' '
        << (peer.handshake_age ? peer.handshake_age->count() : -1) << ' ' << peer.rx_bytes << ' '
        << tunnel.mtu << ' ' << tunnel.proof.reason << tunnel.error << '\n';
  }
  return out.str();
}

// The phase, refusals, the public key, each peer with its state, and where a peer's next key is in
// force, in one line.
std::string describe_keys(const TunnelManager& manager) {
  const auto keys = manager.key_status();
  if (!keys) return "none";
  std::ostringstream out;
  out << to_string(keys->phase) << " refused=" << keys->refused << ' '
      << keys->public_key.to_base64();
  for (const auto& peer : keys->peers)
    out << ' ' << peer.name << '=' << to_string(peer.state);
  for (const TunnelStatus& tunnel : manager.status())
    for (const PeerStatus& peer : tunnel.peers)
      if (peer.next_key_in_force)
        out << ' ' << tunnel.device.str() << '/' << peer.name << '='
            << (*peer.next_key_in_force ? "next" : "first");
  return out.str();
}

// `applies`: how often the configuration has been applied since the start.
awaitable<void> apply_again(TunnelManager& manager, TunnelManager::Wanted wanted, int& applies) {
  if (co_await manager.apply(std::move(wanted))) ++applies;
}

awaitable<std::string> obey(TunnelManager& manager, std::string line, TunnelManager::Wanted& wanted,
                            int& applies) {
  if (line == "status") co_return describe(manager) + ".";
  if (line == "names") {
    std::string names;
    for (const std::string& name : manager.names_to_resolve())
      names += name + " ";
    co_return names;
  }
  if (line == "applies") co_return std::to_string(applies);
  Result<void> done;
  if (line == "apply")
    asio::co_spawn(co_await asio::this_coro::executor, apply_again(manager, wanted, applies),
                   asio::detached);
  if (line.starts_with("resolved ")) {
    std::istringstream words(line.substr(9));
    std::string name;
    std::string address;
    words >> name >> address;
    manager.set_resolved(name, {IpAddress::parse(address).value()});
  }
  if (line.starts_with("force ")) done = co_await manager.force_handshake(line.substr(6));
  if (line == "rotate" || line == "rotate force") {
    auto text = co_await manager.rotate({.force = line.ends_with("force")});
    co_return text ? *text : text.error().what;
  }
  if (line == "abandon") {
    auto text = co_await manager.rotate({.abandon = true});
    co_return text ? *text : text.error().what;
  }
  if (line == "keys") co_return describe_keys(manager);
  // "keys-of PEER PUBLIC [NEXT]": another configuration.
  if (line.starts_with("keys-of ")) {
    std::istringstream words(line.substr(8));
    std::string name;
    std::string first;
    std::string next;
    words >> name >> first >> next;
    for (PeerSettings& peer : wanted.settings.peers)
      if (peer.name == name) {
        peer.public_key = first;
        peer.next_public_key = next.empty() ? std::nullopt : std::optional(next);
      }
    done = co_await manager.apply(wanted);
  }
  if (line == "remove") done = co_await manager.remove_all();
  if (line == "leave") co_await manager.stop(/*keep_devices=*/true);
  co_return done ? "ok" : done.error().what;
}

awaitable<void> serve(TunnelManager& manager, TunnelManager::Wanted wanted, int descriptor) {
  const auto applied = co_await manager.apply(wanted);
  if (!applied) {
    log::error("test", applied.error().what);
    ::_exit(3);
  }
  Channel channel(co_await asio::this_coro::executor);
  channel.assign(asio::local::datagram_protocol(), descriptor);
  std::array<char, 256> text{};
  int applies = 0;
  while (true) {
    auto [ec, size] = co_await channel.async_receive(asio::buffer(text), as_result);
    if (ec || size == 0) ::_exit(4);
    const std::string line(text.data(), size);
    const std::string answer = co_await obey(manager, line, wanted, applies);
    auto [sent, count] = co_await channel.async_send(asio::buffer(answer), as_result);
    if (sent || line == "remove" || line == "leave") ::_exit(sent ? 5 : 0);
  }
}

[[noreturn]] void node_process(const std::string& folder, const TunnelManager::Wanted& wanted,
                               int channel) {
  asio::io_context io;
  TunnelManager manager(io.get_executor(), {folder, "/run/oceanid"});
  std::string routed;
  manager.set_on_change([&] { route(manager, wanted, routed); });
  asio::co_spawn(io, serve(manager, wanted, channel), asio::detached);
  io.run();
  ::_exit(6);
}

void must(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

std::string namespace_of(pid_t pid, const char* kind) {
  std::error_code ec;
  return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/" + kind, ec).string();
}

// A thread that shares its working directory with others (a sanitizer has one of its own) may not
// change its mount namespace: setns(2), EINVAL.
void enter(int network, int mount) {
  must(::unshare(CLONE_FS) == 0, "unshare");
  must(::setns(network, CLONE_NEWNET) == 0 && ::setns(mount, CLONE_NEWNS) == 0, "setns");
}

}  // namespace

std::optional<std::string> why_not_here() {
  if (::geteuid() != 0) return "needs root for network namespaces";
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) return "needs /dev/net/tun";
  return std::nullopt;
}

bool kernel_has_wireguard() {
  const pid_t child = ::fork();
  must(child >= 0, "fork");
  if (child == 0) {
    must(::unshare(CLONE_NEWNET) == 0, "unshare");
    ::_exit(KernelBackend::probe() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Node::Node(std::string folder, TunnelManager::Wanted wanted_at_start)
    : wanted(std::move(wanted_at_start)), folder_(std::move(folder)) {
  std::array<int, 2> ready{};
  must(::pipe2(ready.data(), O_CLOEXEC) == 0, "pipe");
  keeper_ = ::fork();
  must(keeper_ >= 0, "fork");
  if (keeper_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, "unshare");
    must(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mount private");
    must(::mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0, "mount /run");
    must(std::system("ip link set lo up") == 0, "lo up");
    must(::write(ready[1], "r", 1) == 1, "write");
    while (true)
      ::pause();
  }
  ::close(ready[1]);
  char byte = 0;
  must(::read(ready[0], &byte, 1) == 1, "the keeper of the namespaces");
  ::close(ready[0]);
  const std::string proc = "/proc/" + std::to_string(keeper_) + "/ns/";
  network_ = UniqueFd(::open((proc + "net").c_str(), O_RDONLY | O_CLOEXEC));
  mount_ = UniqueFd(::open((proc + "mnt").c_str(), O_RDONLY | O_CLOEXEC));
}

void Node::start() {
  std::array<int, 2> pair{};
  must(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) == 0, "socketpair");
  pid_ = ::fork();
  must(pid_ >= 0, "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(pair[0]);
    enter(network_.get(), mount_.get());
    node_process(folder_, wanted, pair[1]);
  }
  ::close(pair[1]);
  channel_ = UniqueFd(pair[0]);
}

void Node::kill_manager() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Node::~Node() {
  kill_manager();
  for (const pid_t process : processes())
    ::kill(process, SIGKILL);
  ::waitpid(keeper_, nullptr, 0);
}

std::string Node::command(std::string_view line) {
  if (::send(channel_.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) return "";
  std::string answer(16384, '\0');
  const ssize_t size = ::recv(channel_.get(), answer.data(), answer.size(), 0);
  answer.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return answer;
}

std::map<std::string, DeviceView> Node::status() {
  std::map<std::string, DeviceView> views;
  std::istringstream lines(command("status"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    DeviceView view;
    if (words >> name >> view.present >> view.echo >> view.usable >> view.sent >> view.answered >>
        view.handshake_age >> view.rx_bytes >> view.mtu) {
      std::getline(words, view.reason);
      views[name] = view;
    }
  }
  return views;
}

std::optional<pid_t> Node::daemon(const std::string& device) const {
  const auto text = read_small_file(file("/run/oceanid/wireguard-go-" + device + ".pid"), 64);
  if (!text) return std::nullopt;
  return static_cast<pid_t>(std::atoi(text->c_str()));
}

std::vector<pid_t> Node::processes() const {
  std::vector<pid_t> found;
  const std::string ours = namespace_of(keeper_, "net");
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto pid = parse_decimal(entry.path().filename().string(), 1U << 30U);
    if (!pid) continue;
    const auto process = static_cast<pid_t>(*pid);
    if (process != pid_ && namespace_of(process, "net") == ours) found.push_back(process);
  }
  return found;
}

std::string Node::file(const std::string& path) const {
  return "/proc/" + std::to_string(keeper_) + "/root" + path;
}

int Node::run(const std::string& shell_command) const {
  const pid_t child = ::fork();
  must(child >= 0, "fork");
  if (child == 0) {
    enter(network_.get(), mount_.get());
    ::execl("/bin/sh", "sh", "-c", shell_command.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void link(const LinkEnd& first, const LinkEnd& second) {
  // Made inside the first node and handed to the second: the host's own namespace never sees it.
  const std::string make = "ip link add " + first.name + " type veth peer name " + second.name +
                           " netns /proc/" + std::to_string(::getpid()) + "/fd/" +
                           std::to_string(second.node.network_namespace());
  must(first.node.run(make) == 0, "veth");
  for (const LinkEnd* end : {&first, &second})
    must(end->node.run("ip address add " + end->address + " dev " + end->name + " && ip link set " +
                       end->name + " up") == 0,
         "address");
}

void connect(const Node& first, const Node& second) {
  link({first, "link0", "192.0.2.1/24"}, {second, "link0", "192.0.2.2/24"});
  must(first.run("ip address add 2001:db8::1/64 dev link0 nodad") == 0, "address");
  must(second.run("ip address add 2001:db8::2/64 dev link0 nodad") == 0, "address");
}

}  // namespace oceanid::tunnel::testing
