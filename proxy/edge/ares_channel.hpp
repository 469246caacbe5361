#pragma once
// c-ares on the event loop: its sockets are ours (opened, bound, watched and closed here), its
// time-outs are one timer. It repeats questions, goes from server to server, matches replies to
// questions and turns to TCP when a reply is cut short (RFC 7766); files and search lists are not
// its business here. No EDNS: with it this c-ares (1.18) stops asking that way for good after one
// SERVFAIL, and TCP carries what 512 bytes do not.
//
// One thread. Callbacks come from within ask() and process(); the destructor ends every open query
// with ARES_EDESTRUCTION before it returns.

#include "proxy/edge/socket_linux.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ares.h>

namespace oceanid::proxy {

struct AresConfig {
  std::vector<SocketAddress> servers;   // at least one
  std::chrono::milliseconds wait{700};  // for the first reply; doubles with every round
  int tries = 3;                        // rounds over the servers
  bool rotate = false;                  // begin with another server each time
  // The device that a socket towards this server must be bound to; empty: none. An error (errno)
  // makes the server unreachable rather than asked by another way.
  std::function<std::expected<std::string, int>(const IpAddress& server)> device_for;
};

class AresChannel {
 public:
  static Result<std::unique_ptr<AresChannel>> open(asio::io_context& io, AresConfig config);
  struct Private {};  // only open() makes one that works
  AresChannel(Private, asio::io_context& io, AresConfig config);
  ~AresChannel();
  AresChannel(const AresChannel&) = delete;
  AresChannel& operator=(const AresChannel&) = delete;

  // The addresses of one family of a full name. `done` is called exactly once, perhaps before this
  // returns; the reply, empty when none came, lives until it returns. ARES_SUCCESS, ARES_ENODATA
  // and ARES_ENOTFOUND are the server's word, every other status is a failure.
  using Done = std::function<void(int status, std::string_view reply)>;
  void ask(const std::string& name, Family family, Done done);

 private:
  struct Watch {
    Watch(asio::io_context& io, int fd) : descriptor(io.get_executor(), fd) {}
    Descriptor descriptor;
    bool wants_read = false;
    bool wants_write = false;
    bool reading = false;
    bool writing = false;
  };

  Result<void> init();
  void install_socket_functions();
  int connect(int fd, const sockaddr* address, socklen_t length);
  void on_state(int fd, bool read, bool write);
  void wait(const std::shared_ptr<Watch>& watch, int fd);
  void forget(int fd);
  void process(int read_fd, int write_fd);
  void arm_timer();

  asio::io_context& io_;
  AresConfig config_;
  std::string no_file_ = "/dev/null";  // c-ares wants them writable
  std::string only_servers_ = "b";
  ares_channel channel_ = nullptr;
  std::map<int, std::shared_ptr<Watch>> watches_;
  std::shared_ptr<Timer> timer_;
};

}  // namespace oceanid::proxy
