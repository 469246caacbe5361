#include "proxy/core/breaker.hpp"

#include <algorithm>

namespace oceanid::proxy {

Breakers::Answer Breakers::ask(const std::string& destination, Time now) {
  if (circuits_.empty()) return {};
  Circuit* circuit = circuits_.find(destination);
  if (circuit == nullptr || !circuit->open) return {};
  if (now >= circuit->until && !circuit->probing) {
    circuit->probing = true;
    return {true, true, {}};
  }
  // While a probe is on its way nobody knows how long it takes: a second is a fair guess.
  using std::chrono::ceil;
  using std::chrono::milliseconds;
  const auto wait =
      circuit->probing ? milliseconds(1000) : ceil<milliseconds>(circuit->until - now);
  return {false, false, std::max(wait, milliseconds(1))};
}

void Breakers::succeeded(const std::string& destination) {
  if (circuits_.empty()) return;
  const Circuit* circuit = circuits_.peek(destination);
  if (circuit == nullptr) return;
  if (circuit->open) --open_;
  circuits_.erase(destination);
}

bool Breakers::failed(const std::string& destination, const BreakerSettings& settings, Time now) {
  Circuit* circuit = circuits_.find(destination);
  if (circuit == nullptr) {
    const auto gone = circuits_.put(destination, {});
    if (gone && gone->second.open) --open_;
    circuit = circuits_.find(destination);
    if (circuit == nullptr) return false;
  }
  // Requests that were on their way when the circuit opened tell nothing new.
  if (circuit->open && !circuit->probing) return false;
  ++circuit->failures;
  if (!circuit->open && circuit->failures < settings.failures) return false;
  const auto rest = circuit->open ? circuit->rest * 2 : settings.open;
  if (!circuit->open) ++open_;
  circuit->open = true;
  circuit->probing = false;
  circuit->rest = std::min(rest, settings.open_max);
  circuit->until = now + circuit->rest;
  return true;
}

void Breakers::abandoned(const std::string& destination) {
  if (Circuit* circuit = circuits_.find(destination)) circuit->probing = false;
}

}  // namespace oceanid::proxy
