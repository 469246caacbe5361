#include "gateway/admin/handlers.hpp"

#include <boost/json/serialize.hpp>

namespace oceanid::admin {
namespace {

Response text(unsigned status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body) + "\n"};
}

Response json(unsigned status, const boost::json::value& body) {
  return {status, "application/json", boost::json::serialize(body) + "\n"};
}

// Liveness: this process turns its loops. Never the tunnels: a restart mends no tunnel, and a probe
// that says otherwise has restarted healthy gateways by the thousand.
Response livez(const View& view) {
  return view.loops_beat ? text(200, "ok") : text(503, "an event loop has stopped turning");
}

// Readiness: a pod that is not ready turns a reasoned 503 into a refused connection, so exits have
// no say here; the body carries the diagnosis for the human who looks.
Response readyz(const View& view) {
  const unsigned status = view.accepting ? 200 : 503;
  return text(status,
              (view.accepting ? "ready\n" : "not accepting\n") + diagnosis_of(view.gateway));
}

// cloudflared's body, counting only what is proven end to end.
Response ready(const View& view) {
  unsigned proven = 0;
  for (const auto& exit : view.gateway.exits)
    proven += exit.usable ? 1 : 0;
  const unsigned status = proven > 0 ? 200 : 503;
  return json(status, {{"status", status},
                       {"readyConnections", proven},
                       {"connectorId", view.gateway.connector_id}});
}

Response status(const View& view) {
  auto body = boost::json::value_from(view.gateway);
  auto& object = body.get_object();
  object["diagnosis"] = diagnosis_of(view.gateway);
  boost::json::object requests;
  for (const auto& [key, count] : view.proxy.requests) {
    auto& of_outcome = requests[key.first];
    of_outcome = (of_outcome.is_uint64() ? of_outcome.get_uint64() : 0) + count;
  }
  boost::json::object forwards;
  for (const auto& [name, open] : view.proxy.forward_open)
    forwards[name] = open;
  object["proxy"] = boost::json::object{
      {"accepting", view.accepting},     {"tunnels_open", view.proxy.tunnels_open},
      {"bytes_up", view.proxy.bytes_up}, {"bytes_down", view.proxy.bytes_down},
      {"requests", std::move(requests)}, {"forwards_open", std::move(forwards)}};
  return json(200, body);
}

}  // namespace

std::string diagnosis_of(const ipc::GatewaySnapshot& gateway) {
  return gateway.diagnosis.empty() ? "Starting: nothing is known yet." : gateway.diagnosis;
}

Response handle(std::string_view method, std::string_view path, const View& view) {
  if (method != "GET" && method != "HEAD")
    return text(405, "only GET and HEAD: changes go through the control socket");
  const std::string_view bare = path.substr(0, path.find('?'));
  if (bare == "/livez") return livez(view);
  if (bare == "/readyz") return readyz(view);
  if (bare == "/ready") return ready(view);
  if (bare == "/metrics")
    return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(view)};
  if (bare == "/api/v1/status") return status(view);
  return text(404, "not found; there are /livez /readyz /ready /metrics /api/v1/status");
}

}  // namespace oceanid::admin
