// What netd hears from its unprivileged children: a worker or transport process that was taken over
// says what it likes. Reading refuses or gives values that can be written again.
#include "gateway/ipc/connections.hpp"
#include "gateway/ipc/messages.hpp"
#include "gateway/ipc/packet_codec.hpp"
#include "gateway/ipc/policy_answers.hpp"
#include "gateway/ipc/transport_messages.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

using namespace oceanid;

template <typename T>
void read_as(const boost::json::value& body) {
  const auto message = ipc::decode<T>(body, "fuzz");
  if (message && !ipc::decode<T>(boost::json::value_from(*message), "fuzz")) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(ipc::decode_large_body(text));
  const auto packet = ipc::decode_packet(text);
  if (!packet || packet->large) return 0;
  if (const auto again = ipc::decode_packet(ipc::encode_packet(packet->type, packet->body));
      !again || again->type != packet->type)
    std::abort();
  read_as<ipc::Ready>(packet->body);
  read_as<ipc::Counters>(packet->body);
  read_as<ipc::Probes>(packet->body);
  read_as<ipc::Resolved>(packet->body);
  read_as<ipc::Answer>(packet->body);
  read_as<ipc::Started>(packet->body);
  read_as<ipc::Exited>(packet->body);
  read_as<ipc::TransportWant>(packet->body);
  read_as<ipc::TransportLinks>(packet->body);
  read_as<ipc::TransportAnswer>(packet->body);
  read_as<ipc::TransportTrouble>(packet->body);
  read_as<ipc::TransportCounters>(packet->body);
  // The answers to the command line's questions, which netd reads before it hands them on.
  read_as<proxy::Explanation>(packet->body);
  read_as<proxy::ConnectionList>(packet->body);
  return 0;
}
