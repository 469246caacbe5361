#include "proxy/edge/http_exchange.hpp"

#include "proxy/core/http_fields.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// No common server ends an idle connection earlier than this.
constexpr SteadyClock::duration surely_kept = std::chrono::seconds(2);

// Interim responses to one request: an origin that sends them without end has nothing to say.
constexpr int most_interim = 100;

// NTLM and Negotiate log in a connection, not a request (RFC 4559 section 6): another client must
// never be given one.
bool authenticates_connection(std::span<const Field> fields) {
  for (const auto* name : {"authorization", "www-authenticate"})
    for (const std::string_view value : values_of(fields, name))
      for (const std::string_view scheme : {"NTLM", "Negotiate"})
        if (equal_without_case(value.substr(0, scheme.size()), scheme)) return true;
  return false;
}

}  // namespace

HttpExchange::HttpExchange(ServerCore& core, const Snapshot& snapshot, Descriptor& client,
                           std::string& buffered, Request request, Trace& trace)
    : core_(core),
      snapshot_(snapshot),
      client_(client),
      buffered_(buffered),
      head_(request.head),
      target_(request.target),
      content_(request.content),
      throttle_(std::move(request.throttle)),
      trace_(trace),
      up_timer_(core.io().get_executor()),
      down_timer_(core.io().get_executor()),
      client_keeps_(keeps_alive(request.head)) {}

awaitable<HttpExchange::End> HttpExchange::run(UpstreamRequest request) {
  for (bool first = true;; first = false) {
    if (auto refusal = co_await connect(request, first)) {
      end_.refusal = std::move(refusal);
      break;
    }
    const Outcome outcome = co_await attempt();
    if (outcome == Outcome::retry && first) continue;
    end_.switched = outcome == Outcome::switched;
    if (outcome == Outcome::retry) refuse(Reason::connection_reset, {});
    if (outcome == Outcome::broken) end_.reason = Reason::connection_reset;
    end_.client_reusable = outcome == Outcome::done && client_keeps_;
    if (outcome == Outcome::done && origin_keeps_ && uploaded_) keep_origin();
    break;
  }
  if (end_.switched) {
    end_.origin = std::move(origin_);
    end_.greeting = std::move(greeting_);
  }
  co_return std::move(end_);
}

// Not once other rules hold: its address was judged by those of this request.
void HttpExchange::keep_origin() {
  if (core_.snapshot().get() != &snapshot_ || core_.draining()) return;
  core_.origins().put(trace_.record.role, target_.destination, std::move(*origin_),
                      origin_idle_time_);
}

awaitable<std::optional<Refusal>> HttpExchange::connect(UpstreamRequest request,
                                                        bool pooled_allowed) {
  pooled_ = false;
  const auto exit = choose_exit(snapshot_.runtime->exits.get(), snapshot_.runtime->exits_configured,
                                request.exit);
  if (pooled_allowed && exit) {
    // What cannot be sent a second time takes only a connection whose origin hardly tires of it in
    // this moment.
    const bool safe = is_repeatable() && content_.framing().content == Content::none;
    origin_ = core_.origins().take(*exit, trace_.record.role, target_.destination,
                                   safe ? SteadyClock::duration::max() : surely_kept);
    pooled_ = origin_.has_value();
  }
  if (!pooled_) {
    // A pooled connection may have taken long to show that it is dead.
    request.deadline = SteadyClock::now() + snapshot_.settings().timeouts.connect;
    auto upstream = co_await open_upstream(core_, std::move(request), trace_);
    if (!upstream) co_return std::move(upstream.error());
    origin_.emplace(OriginConnection{std::move(upstream->socket), upstream->address,
                                     std::move(upstream->exit)});
  }
  trace_.record.address = origin_->address.to_string();
  trace_.record.exit = origin_->exit.name;
  co_return std::nullopt;
}

awaitable<HttpExchange::Outcome> HttpExchange::attempt() {
  using namespace asio::experimental::awaitable_operators;
  // What the origin says decides; the upload ends first only when the client cannot complete its
  // request.
  auto ended = co_await (download() || upload());
  if (ended.index() == 0) co_return std::get<0>(ended);
  if (answered_) co_return Outcome::broken;
  if (content_.broken()) co_return refuse(Reason::bad_request, content_.fault());
  co_return refuse(Reason::client_gone, {});
}

ForwardedHead HttpExchange::our_word(bool keep_alive) const {
  return {pseudonym_of(*snapshot_.runtime), keep_alive, {}};
}

awaitable<void> HttpExchange::upload() {
  ForwardedHead how = our_word(true);
  how.upgrade = wanted_upgrade(head_);
  const auto patience = snapshot_.settings().timeouts.idle;
  bool open =
      co_await send_all(origin_->socket, render_request(head_, target_, content_.framing(), how),
                        up_timer_, patience);
  while (open && !content_.whole()) {
    std::string bytes = std::exchange(buffered_, {});
    if (bytes.empty()) {
      auto received = co_await receive(client_, core_.pool(), up_timer_, patience);
      if (!received || received->empty()) co_return;
      bytes = std::move(*received);
    }
    std::string out;
    buffered_ = bytes.substr(content_.take(bytes, out));
    if (content_.broken()) co_return;
    trace_.record.bytes_up += out.size();
    core_.pool().count_up(out.size());
    content_sent_ = content_sent_ || !out.empty();
    open = co_await send_all(origin_->socket, std::move(out), up_timer_, patience, throttle_.get());
  }
  uploaded_ = open;  // not before the last byte is on its way: what follows is another request
  up_timer_.expires_at(SteadyClock::time_point::max());
  static_cast<void>(co_await up_timer_.async_wait(as_result));
}

HttpExchange::Outcome HttpExchange::refuse(Reason reason, std::string detail) {
  end_.refusal = Refusal{reason, std::move(detail), origin_ ? origin_->address.to_string() : ""};
  return Outcome::refused;
}

// RFC 9110 section 9.2.2: what may be sent a second time without asking.
bool HttpExchange::is_repeatable() const {
  constexpr std::array<std::string_view, 6> idempotent = {"GET", "HEAD",   "OPTIONS",
                                                          "PUT", "DELETE", "TRACE"};
  return !content_sent_ && std::ranges::find(idempotent, head_.method) != idempotent.end();
}

// The origin has closed without a word. On a connection of the pool that may be an old farewell.
HttpExchange::Outcome HttpExchange::no_answer(NoBytes why) {
  if (why == NoBytes::silent)
    return refuse(Reason::connection_timeout, "the destination did not begin to answer in time");
  if (pooled_ && is_repeatable()) return Outcome::retry;
  return refuse(Reason::connection_reset,
                "the destination closed the connection without an answer");
}

awaitable<std::optional<ResponseHead>> HttpExchange::read_response_head(std::string& rest,
                                                                        Outcome& outcome) {
  const auto& settings = snapshot_.settings();
  ResponseParser parser({settings.limits.head_bytes, settings.limits.head_fields});
  for (;;) {
    if (rest.empty()) {
      auto received =
          co_await receive(origin_->socket, core_.pool(), down_timer_, settings.timeouts.idle);
      if (!received || received->empty()) {
        outcome = parser.started()
                      ? refuse(Reason::bad_response, "the response ended within its head")
                      : no_answer(received ? NoBytes::broken : received.error());
        co_return std::nullopt;
      }
      rest = std::move(*received);
      note_first_byte();
    }
    const auto state = parser.feed(rest);
    rest.erase(0, parser.consumed_of_last_feed());
    if (state == ResponseParser::State::done) co_return parser.take_head();
    if (state == ResponseParser::State::failed) {
      outcome = refuse(Reason::bad_response, parser.fault());
      co_return std::nullopt;
    }
  }
}

void HttpExchange::note_first_byte() {
  if (trace_.record.first_byte) return;
  const auto took = SteadyClock::now() - trace_.started;
  trace_.record.first_byte = std::chrono::duration_cast<std::chrono::microseconds>(took);
  core_.stats().first_byte(took);
}

// RFC 9110 section 7.8: to something that the client has asked for, after its whole request.
HttpExchange::Outcome HttpExchange::switch_protocols(const ResponseHead& head,
                                                     const std::string& rest) {
  ForwardedHead how = our_word(true);
  how.upgrade = agreed_upgrade(head, wanted_upgrade(head_));
  if (how.upgrade.empty())
    return refuse(Reason::bad_response, "the destination switches protocols without being asked");
  if (!uploaded_)
    return refuse(Reason::bad_response,
                  "the destination switches protocols before the end of the request");
  greeting_ = render_response(head, {}, how) + rest;
  return Outcome::switched;
}

awaitable<HttpExchange::Outcome> HttpExchange::download() {
  const auto patience = snapshot_.settings().timeouts.idle;
  std::string rest;
  Outcome outcome = Outcome::broken;
  std::optional<ResponseHead> head;
  for (int interim = 0;; ++interim) {
    head = co_await read_response_head(rest, outcome);
    if (!head) co_return outcome;
    if (head->status / 100 != 1 || head->status == 101) break;
    if (interim == most_interim)
      co_return refuse(Reason::bad_response, "the destination sends interim responses without end");
    if (head_.version == HttpVersion::http10) continue;  // it does not know interim responses
    if (!co_await send_all(client_, render_response(*head, {}, our_word(true)), down_timer_,
                           patience))
      co_return Outcome::broken;
  }
  trace_.record.status = head->status;
  if (head->status == 101) co_return switch_protocols(*head, rest);
  const auto framing = framing_of(*head, head_.method);
  if (!framing) co_return refuse(Reason::bad_response, framing.error().what);
  Framing out = *framing;
  if (out.content == Content::until_close && head_.version == HttpVersion::http11)
    out.content =
        Content::chunked;  // so that the client can tell a whole response from half of one
  else if (out.content == Content::chunked && head_.version == HttpVersion::http10)
    out.content = Content::until_close;
  // The rest of an unfinished request would be read as the next one.
  client_keeps_ = client_keeps_ && out.content != Content::until_close && content_.whole();
  origin_keeps_ = keeps_alive(*head) && framing->content != Content::until_close &&
                  !authenticates_connection(head_.fields) &&
                  !authenticates_connection(head->fields);
  origin_idle_time_ = announced_idle_time(*head);
  answered_ = true;
  if (!co_await send_all(client_, render_response(*head, out, our_word(client_keeps_)), down_timer_,
                         patience))
    co_return Outcome::broken;
  if (framing->content == Content::none) {
    origin_keeps_ = origin_keeps_ && rest.empty();
    co_return Outcome::done;
  }
  co_return co_await download_content(*framing, std::move(rest));
}

awaitable<HttpExchange::Outcome> HttpExchange::download_content(Framing framing, std::string rest) {
  const auto patience = snapshot_.settings().timeouts.idle;
  const bool to_chunks = head_.version == HttpVersion::http11 && framing.content != Content::length;
  ChunkedReader chunks;
  std::uint64_t left = framing.length;
  for (bool whole = false; !whole;) {
    if (rest.empty()) {
      auto received = co_await receive(origin_->socket, core_.pool(), down_timer_, patience);
      if (!received) co_return Outcome::broken;
      if (received->empty()) {
        if (framing.content != Content::until_close) co_return Outcome::broken;
        whole = true;
      }
      rest = std::move(*received);
    }
    std::string out;
    const auto pass = [&](std::string_view data) {
      if (to_chunks && !data.empty()) out += chunk_head(data.size());
      out += data;
      if (to_chunks && !data.empty()) out += "\r\n";
    };
    if (framing.content == Content::length) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, rest.size()));
      left -= size;
      whole = left == 0;
      origin_keeps_ = origin_keeps_ && size == rest.size();
      rest.resize(size);
      out = std::exchange(rest, {});
    } else if (framing.content == Content::until_close) {
      pass(rest);
      rest.clear();
    } else {
      std::string_view bytes = rest;
      while (!bytes.empty() && chunks.state() == ChunkedReader::State::need_more) {
        const auto step = chunks.take(bytes);
        bytes.remove_prefix(step.consumed);
        pass(step.data);
      }
      if (chunks.state() == ChunkedReader::State::failed) co_return Outcome::broken;
      whole = chunks.state() == ChunkedReader::State::done;
      if (whole) origin_keeps_ = origin_keeps_ && bytes.empty();
      rest.clear();
    }
    if (whole && to_chunks) out += last_chunk(chunks.trailers());
    trace_.record.bytes_down += out.size();
    core_.pool().count_down(out.size());
    if (!co_await send_all(client_, std::move(out), down_timer_, patience, throttle_.get()))
      co_return Outcome::broken;
  }
  co_return Outcome::done;
}

}  // namespace oceanid::proxy
