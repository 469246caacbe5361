#pragma once
// What netd and its children say to each other. Frame types are the constants below; each body is
// the struct of the same name. Direction is part of the contract: a frame in the wrong direction
// ends the conversation.

#include "gateway/ipc/json_types.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::ipc {

// ---- netd → worker ----------------------------------------------------------------------------

// Listening sockets, one descriptor each; kept by the worker until the next `configure` names them.
inline constexpr std::string_view listeners_frame = "listeners";
struct ListenerTag {
  std::string key;         // unique: "proxy [::]:3128 #0"
  std::string kind;        // "proxy" | "forward" | "admin"
  std::string bind;        // matches the configuration's entry
  std::uint32_t core = 0;  // which event loop takes it
};
BOOST_DESCRIBE_STRUCT(ListenerTag, (), (key, kind, bind, core))
struct Listeners {
  std::vector<ListenerTag> tags;
};
BOOST_DESCRIBE_STRUCT(Listeners, (), (tags))

// A configuration to switch to. Descriptors: the YAML text, then one memfd for each of `files`.
inline constexpr std::string_view configure_frame = "configure";
struct Configure {
  std::uint64_t generation = 0;
  std::string file;  // for messages only; the worker cannot open it
  std::string host_name;
  std::uint32_t cores = 1;
  std::vector<std::string> keys;           // the listeners that stay; others are closed
  std::vector<std::string> files;          // configured paths of the secret files passed along
  std::vector<IpAddress> local_addresses;  // of the node: never a destination for strangers
};
BOOST_DESCRIBE_STRUCT(Configure, (),
                      (generation, file, host_name, cores, keys, files, local_addresses))

inline constexpr std::string_view exits_frame = "exits";        // body: ExitTable
inline constexpr std::string_view snapshot_frame = "snapshot";  // body: GatewaySnapshot
inline constexpr std::string_view resolve_frame = "resolve";
struct Resolve {
  std::vector<std::string> names;  // endpoint host names
  std::vector<std::string>
      urgent;  // of these, whose tunnels do not answer: asked anew, past any cache
};
BOOST_DESCRIBE_STRUCT(Resolve, (), (names, urgent))

// A question of the command line that only the worker can answer; exactly one `answer` follows.
inline constexpr std::string_view question_frame = "question";
struct Question {
  std::uint64_t number = 0;
  std::string command;
  boost::json::value arguments;
};
BOOST_DESCRIBE_STRUCT(Question, (), (number, command, arguments))

inline constexpr std::string_view drain_frame = "drain";  // no body: finish what runs, then exit

// ---- worker → netd ----------------------------------------------------------------------------

inline constexpr std::string_view ready_frame = "ready";
struct Ready {
  std::uint64_t generation = 0;
  std::string error;  // empty: the configuration is in force
};
BOOST_DESCRIBE_STRUCT(Ready, (), (generation, error))

inline constexpr std::string_view resolved_frame = "resolved";
struct Resolved {
  std::string name;
  std::vector<IpAddress> addresses;
};
BOOST_DESCRIBE_STRUCT(Resolved, (), (name, addresses))

inline constexpr std::string_view answer_frame = "answer";
struct Answer {
  std::uint64_t number = 0;
  std::string error;  // empty: `result` counts
  boost::json::value result;
};
BOOST_DESCRIBE_STRUCT(Answer, (), (number, error, result))

inline constexpr std::string_view counters_frame = "counters";
struct Counters {
  std::uint64_t tunnels_open = 0;
  std::uint64_t requests = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};
BOOST_DESCRIBE_STRUCT(Counters, (), (tunnels_open, requests, bytes_up, bytes_down))

// What the probes through the exits have found; netd takes what it has asked for.
inline constexpr std::string_view probes_frame = "probes";
struct ProbeResult {
  std::string exit;    // empty: by the host's own routes
  std::string target;  // "tls www.example.net:443", "exit_ip"
  bool good = false;
  std::string error;
  double seconds = 0;
  std::optional<std::int32_t> certificate_days;
  std::optional<IpAddress> seen;
};
BOOST_DESCRIBE_STRUCT(ProbeResult, (), (exit, target, good, error, seconds, certificate_days, seen))
struct Probes {
  std::vector<ProbeResult> results;
};
BOOST_DESCRIBE_STRUCT(Probes, (), (results))

// ---- netd ↔ launcher ---------------------------------------------------------------------------

inline constexpr std::string_view start_child_frame = "start";  // descriptors: channel, program
struct StartChild {
  std::string kind;  // "worker" | "transport"
  std::string user;
};
BOOST_DESCRIBE_STRUCT(StartChild, (), (kind, user))
inline constexpr std::string_view started_frame = "started";
struct Started {
  std::string kind;
  std::int64_t pid = 0;
};
BOOST_DESCRIBE_STRUCT(Started, (), (kind, pid))
inline constexpr std::string_view exited_frame = "exited";
struct Exited {
  std::int64_t pid = 0;
  std::string how;  // "exit code 0", "signal 9 (Killed)"
};
BOOST_DESCRIBE_STRUCT(Exited, (), (pid, how))

}  // namespace oceanid::ipc
