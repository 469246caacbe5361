#include "tunnel/core/uapi_codec.hpp"

#include <algorithm>
#include <limits>

namespace oceanid::tunnel::uapi {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

void line(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  out += '=';
  out += value;
  out += '\n';
}

std::unexpected<Error> broken(std::string_view what) {
  return fail(Errc::protocol, "WireGuard's answer is not understood: " + std::string(what));
}

// Takes the next line off the front; none at the end or when the last line has no newline.
std::optional<std::string_view> next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view result = text.substr(0, end);
  text.remove_prefix(end + 1);
  return result;
}

struct Pair {
  std::string_view key;
  std::string_view value;
};

std::optional<Pair> split(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  return Pair{text.substr(0, equals), text.substr(equals + 1)};
}

Result<int> decode_errno(std::string_view value) {
  if (value.starts_with('-')) value.remove_prefix(1);
  const auto number = parse_decimal(value, 4095);  // the kernel's MAX_ERRNO
  if (!number) return broken("errno");
  return static_cast<int>(*number);
}

class GetDecoder {
 public:
  explicit GetDecoder(const IfName& name) { reading_.snapshot.name = name; }

  Result<void> take(const Pair& pair) {
    if (pair.key == "public_key") return begin_peer(pair.value);
    return reading_.snapshot.peers.empty() ? device_value(pair) : peer_value(pair);
  }

  DeviceReading finish() && {
    if (!reading_.snapshot.peers.empty()) close_peer();
    return std::move(reading_);
  }

 private:
  Result<void> begin_peer(std::string_view value) {
    if (!reading_.snapshot.peers.empty()) close_peer();
    if (reading_.snapshot.peers.size() >= max_peers) return broken("too many peers");
    const auto key = PublicKey::from_hex(value);
    if (!key) return broken("public_key");
    reading_.snapshot.peers.emplace_back().public_key = *key;
    reading_.preshared_keys.emplace_back();
    handshake_seconds_ = 0;
    handshake_nanoseconds_ = 0;
    return {};
  }

  void close_peer() {
    PeerSnapshot& peer = reading_.snapshot.peers.back();
    std::ranges::sort(peer.allowed_ips);
    if (handshake_seconds_ == 0 && handshake_nanoseconds_ == 0) return;
    const auto since_epoch = seconds(handshake_seconds_) + nanoseconds(handshake_nanoseconds_);
    peer.last_handshake = std::chrono::system_clock::time_point(since_epoch);
  }

  Result<void> device_value(const Pair& pair) {
    if (pair.key == "private_key") {
      reading_.private_key = PrivateKey::from_hex(pair.value);
      if (!reading_.private_key) return broken("private_key");
    } else if (pair.key == "listen_port") {
      const auto port = parse_decimal(pair.value, 65535);
      if (!port) return broken("listen_port");
      reading_.snapshot.listen_port = static_cast<std::uint16_t>(*port);
    } else if (pair.key == "fwmark") {
      const auto mark = parse_decimal(pair.value, std::numeric_limits<std::uint32_t>::max());
      if (!mark) return broken("fwmark");
      reading_.snapshot.fwmark = static_cast<std::uint32_t>(*mark);
    }
    return {};  // keys of a later version say nothing to us
  }

  Result<void> peer_value(const Pair& pair) {
    PeerSnapshot& peer = reading_.snapshot.peers.back();
    if (pair.key == "preshared_key") {
      const auto key = PresharedKey::from_hex(pair.value);
      if (!key) return broken("preshared_key");
      reading_.preshared_keys.back() = *key;
    } else if (pair.key == "endpoint") {
      const auto endpoint = SocketAddress::parse(pair.value);
      // A zone (fe80::1%eth0) is legal here; such an endpoint is only not shown.
      if (endpoint) peer.endpoint = *endpoint;
    } else if (pair.key == "allowed_ip") {
      const auto prefix = Prefix::parse(pair.value);
      if (!prefix) return broken("allowed_ip");
      if (peer.allowed_ips.size() >= max_allowed_ips) return broken("too many allowed_ip");
      peer.allowed_ips.push_back(*prefix);
    } else {
      return peer_number(peer, pair);
    }
    return {};
  }

  Result<void> peer_number(PeerSnapshot& peer, const Pair& pair) {
    constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
    const auto number = [&](std::uint64_t max) { return parse_decimal(pair.value, max); };
    std::optional<std::uint64_t> value = 0;
    if (pair.key == "rx_bytes") {
      if ((value = number(any))) peer.rx_bytes = *value;
    } else if (pair.key == "tx_bytes") {
      if ((value = number(any))) peer.tx_bytes = *value;
    } else if (pair.key == "persistent_keepalive_interval") {
      if ((value = number(65535))) peer.keepalive = seconds(*value);
    } else if (pair.key == "last_handshake_time_sec") {
      if ((value = number(max_handshake_seconds))) handshake_seconds_ = *value;
    } else if (pair.key == "last_handshake_time_nsec") {
      if ((value = number(999'999'999))) handshake_nanoseconds_ = *value;
    }
    if (!value) return broken(pair.key);
    return {};
  }

  DeviceReading reading_;
  std::uint64_t handshake_seconds_ = 0;
  std::uint64_t handshake_nanoseconds_ = 0;
};

// Feeds every pair before `errno` to `take`; the answer is complete only with errno and the blank
// line.
template <typename Take>
Result<void> decode(std::string_view text, Take take) {
  if (text.size() > max_answer) return broken("too long");
  while (const auto next = next_line(text)) {
    const auto pair = split(*next);
    if (!pair) return broken("a line without '='");
    if (pair->key != "errno") {
      if (auto taken = take(*pair); !taken) return taken;
      continue;
    }
    const auto number = decode_errno(pair->value);
    if (!number) return std::unexpected(number.error());
    const auto blank = next_line(text);
    if (!blank || !blank->empty()) return broken("no blank line at the end");
    if (*number != 0) return fail_errno("WireGuard refused the request", *number);
    return {};
  }
  return broken("no errno");
}

void encode_peer(std::string& out, const PeerChange& peer) {
  line(out, "public_key", peer.public_key.to_hex());
  if (peer.remove) {
    line(out, "remove", "true");
    return;
  }
  if (peer.preshared_key) {
    std::string secret = peer.preshared_key->reveal_hex();
    line(out, "preshared_key", secret);
    wipe(secret);
  }
  if (peer.endpoint) line(out, "endpoint", peer.endpoint->to_string());
  if (peer.replace_allowed_ips) {
    line(out, "replace_allowed_ips", "true");
    for (const Prefix& prefix : peer.allowed_ips)
      line(out, "allowed_ip", prefix.to_string());
  }
  // After the addresses: setting it makes wireguard-go send at once.
  if (peer.keepalive)
    line(out, "persistent_keepalive_interval", std::to_string(peer.keepalive->count()));
}

}  // namespace

std::string encode_set(const DeviceChange& change) {
  std::string out = "set=1\n";
  // Room for everything first: growing would leave copies of the keys behind in freed memory.
  std::size_t size = 512;
  for (const PeerChange& peer : change.peers)
    size += 512 + peer.allowed_ips.size() * 64;
  out.reserve(size);
  if (change.private_key) {
    std::string secret = change.private_key->reveal_hex();
    line(out, "private_key", secret);
    wipe(secret);
  }
  if (change.fwmark) line(out, "fwmark", std::to_string(*change.fwmark));
  if (change.listen_port) line(out, "listen_port", std::to_string(*change.listen_port));
  for (const PeerChange& peer : change.peers)
    encode_peer(out, peer);
  out += '\n';
  return out;
}

Result<DeviceReading> decode_get(const IfName& name, std::string_view text) {
  GetDecoder decoder(name);
  auto decoded = decode(text, [&](const Pair& pair) { return decoder.take(pair); });
  if (!decoded) return std::unexpected(std::move(decoded.error()));
  return std::move(decoder).finish();
}

Result<void> decode_set_answer(std::string_view text) {
  return decode(text,
                [](const Pair&) -> Result<void> { return broken("a value where errno belongs"); });
}

std::optional<std::size_t> answer_length(std::string_view received) {
  if (received.starts_with('\n')) return 1;
  const std::size_t at = received.find("\n\n");
  if (at == std::string_view::npos) return std::nullopt;
  return at + 2;
}

std::string encode_get_answer(const DeviceReading& reading) {
  std::string out;
  if (reading.private_key) line(out, "private_key", reading.private_key->reveal_hex());
  const DeviceSnapshot& device = reading.snapshot;
  if (device.listen_port != 0) line(out, "listen_port", std::to_string(device.listen_port));
  if (device.fwmark != 0) line(out, "fwmark", std::to_string(device.fwmark));
  for (std::size_t i = 0; i < device.peers.size(); ++i) {
    const PeerSnapshot& peer = device.peers[i];
    line(out, "public_key", peer.public_key.to_hex());
    const PresharedKey none;
    const PresharedKey& preshared =
        i < reading.preshared_keys.size() ? reading.preshared_keys[i] : none;
    line(out, "preshared_key", preshared.reveal_hex());
    line(out, "protocol_version", "1");
    if (peer.endpoint) line(out, "endpoint", peer.endpoint->to_string());
    const auto since_epoch =
        peer.last_handshake.value_or(std::chrono::system_clock::time_point()).time_since_epoch();
    const auto whole = std::chrono::floor<seconds>(since_epoch);
    line(out, "last_handshake_time_sec", std::to_string(whole.count()));
    line(out, "last_handshake_time_nsec", std::to_string(nanoseconds(since_epoch - whole).count()));
    line(out, "tx_bytes", std::to_string(peer.tx_bytes));
    line(out, "rx_bytes", std::to_string(peer.rx_bytes));
    line(out, "persistent_keepalive_interval", std::to_string(peer.keepalive.count()));
    for (const Prefix& prefix : peer.allowed_ips)
      line(out, "allowed_ip", prefix.to_string());
  }
  out += "errno=0\n\n";
  return out;
}

}  // namespace oceanid::tunnel::uapi
