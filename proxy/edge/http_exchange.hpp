#pragma once
// One plain-HTTP request (RFC 9112 absolute-form) and its response, through a connection of the
// pool or a new one:
//
//   client --- request head, content ---> origin      both at once: an origin may answer early
//   client <-- response head, content --- origin
//
// Content is read from one side only when the other has taken what came before, so at most one
// buffer a direction is held. A pooled connection that turns out to be dead is replaced once, if
// nothing of the request can have been acted on (RFC 9110 section 9.2.2).

#include "proxy/core/chunked.hpp"
#include "proxy/core/forward_head.hpp"
#include "proxy/core/request_content.hpp"
#include "proxy/edge/admission.hpp"
#include "proxy/edge/origin_pool.hpp"
#include "proxy/edge/server_core.hpp"
#include "proxy/edge/stream_io.hpp"
#include "proxy/edge/upstream.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace oceanid::proxy {

class HttpExchange {
 public:
  struct End {
    std::optional<Refusal> refusal;  // the client has not been told anything yet
    Reason reason = Reason::ok;      // otherwise
    bool client_reusable = false;
    bool switched = false;  // 101: `origin` and `greeting` are a tunnel's
    std::optional<OriginConnection> origin;
    std::string greeting;
  };

  struct Request {
    const RequestHead& head;
    const AbsoluteTarget& target;
    RequestContent& content;             // afterwards it tells what is still to come of it
    std::shared_ptr<Throttle> throttle;  // of content, both ways; null: no limit
  };
  // Everything stays with the caller, who waits. `buffered`: what the client has sent behind the
  // head; afterwards, what belongs to the next request (or, switched, to the tunnel).
  HttpExchange(ServerCore& core, const Snapshot& snapshot, Descriptor& client,
               std::string& buffered, Request request, Trace& trace);

  awaitable<End> run(UpstreamRequest request);

 private:
  enum class Outcome : std::uint8_t { done, switched, retry, refused, broken };

  awaitable<std::optional<Refusal>> connect(UpstreamRequest request, bool pooled_allowed);
  awaitable<Outcome> attempt();
  void keep_origin();
  awaitable<Outcome> download();
  awaitable<Outcome> download_content(Framing framing, std::string rest);
  awaitable<void> upload();
  awaitable<std::optional<ResponseHead>> read_response_head(std::string& rest, Outcome& outcome);
  bool is_repeatable() const;
  Outcome no_answer(NoBytes why);
  Outcome switch_protocols(const ResponseHead& head, const std::string& rest);
  Outcome refuse(Reason reason, std::string detail);
  ForwardedHead our_word(bool keep_alive) const;
  void note_first_byte();

  ServerCore& core_;
  const Snapshot& snapshot_;
  Descriptor& client_;
  std::string& buffered_;
  const RequestHead& head_;
  const AbsoluteTarget& target_;
  RequestContent& content_;
  std::shared_ptr<Throttle> throttle_;
  Trace& trace_;
  Timer up_timer_;
  Timer down_timer_;
  std::optional<OriginConnection> origin_;
  bool pooled_ = false;
  bool uploaded_ = false;      // the whole request has been sent to the origin
  bool content_sent_ = false;  // any of its content
  bool answered_ = false;      // the client has seen a final response head
  bool client_keeps_ = false;
  bool origin_keeps_ = false;
  std::optional<std::chrono::seconds> origin_idle_time_;
  std::string greeting_;
  End end_;
};

}  // namespace oceanid::proxy
