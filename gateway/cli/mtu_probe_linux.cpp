#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/cli/mtu_probe.hpp"
#include "tunnel/core/path_mtu_search.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <vector>

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>

namespace oceanid::cli {
namespace {

using namespace std::chrono_literals;
using tunnel::PathMtuSearch;
using Clock = PathMtuSearch::Time::clock;

constexpr auto patience = 10s;                // for the whole search
constexpr auto first_answer = 2500ms;         // nobody there
constexpr std::uint16_t closed_port = 33434;  // traceroute's
constexpr std::size_t echo_header = 8;

bool set(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// One kind of probe: a packet of a given size that carries a number, and answers with that number.
class Pinger {
 public:
  Pinger(const IpAddress& host, bool udp) : host_(host), udp_(udp) {
    const bool four = host.is_v4();
    const int family = four ? AF_INET : AF_INET6;
    const int icmp = four ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
    // A datagram socket for echoes is open to whom net.ipv4.ping_group_range allows; root has a raw
    // one. The kernel fills in the identifier of the first kind and filters by it.
    fd_ = UniqueFd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, udp ? 0 : icmp));
    if (!fd_ && !udp) {
      fd_ = UniqueFd(::socket(family, SOCK_RAW | SOCK_CLOEXEC, icmp));
      raw_ = true;
    }
    if (!fd_) return;
    if (four)
      set(fd_.get(), IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    else
      set(fd_.get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    if (udp) set(fd_.get(), four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_RECVERR : IPV6_RECVERR, 1);
    const NativeAddress to = to_native({host, udp ? closed_port : std::uint16_t{0}});
    if (::connect(fd_.get(), to.get(), to.length) != 0) fd_ = {};
  }

  bool usable() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }

  // False: too large for our own link.
  bool send(std::uint16_t number, unsigned size) {
    const std::size_t content = size - (host_.is_v4() ? 20 : 40);
    std::vector<std::uint8_t> packet(content);
    std::size_t at = echo_header;
    if (!udp_) {
      packet[0] = host_.is_v4() ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
      packet[4] = 0x4f;
      packet[5] = 0x43;
      packet[6] = static_cast<std::uint8_t>(number >> 8U);
      packet[7] = static_cast<std::uint8_t>(number & 0xffU);
      if (raw_ && host_.is_v4()) fill_checksum(packet);
      at = 0;
    } else {
      packet[at] = static_cast<std::uint8_t>(number >> 8U);
      packet[at + 1] = static_cast<std::uint8_t>(number & 0xffU);
    }
    for (int attempt = 0; attempt < 2; ++attempt) {
      int pending = 0;  // an earlier packet's error, which would be taken for this one's
      socklen_t length = sizeof pending;
      ::getsockopt(fd(), SOL_SOCKET, SO_ERROR, &pending, &length);
      if (::send(fd(), packet.data() + at, content - at, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    }
    return errno != EMSGSIZE;
  }

  // The number of a packet that arrived there; none: no (further) answer.
  std::optional<std::uint16_t> receive() {
    std::array<std::uint8_t, 128> packet{};
    while (true) {
      std::array<char, 512> control{};
      iovec part{packet.data(), packet.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t size = ::recvmsg(fd(), &message, MSG_DONTWAIT | (udp_ ? MSG_ERRQUEUE : 0));
      if (size < 0) return std::nullopt;
      if (const auto number =
              number_in(std::span(packet).first(static_cast<std::size_t>(size)), message))
        return number;
    }
  }

 private:
  std::optional<std::uint16_t> number_in(std::span<const std::uint8_t> packet, msghdr& message) {
    if (udp_) {
      if (packet.size() < 2 || !is_refusal(message)) return std::nullopt;
      return static_cast<std::uint16_t>(packet[0] << 8U | packet[1]);
    }
    if (raw_ && host_.is_v4() && !packet.empty())
      packet = packet.subspan(std::min<std::size_t>(packet.size(), (packet[0] & 0x0fU) * 4U));
    const int reply = host_.is_v4() ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    if (packet.size() < echo_header || packet[0] != reply) return std::nullopt;
    if (raw_ && (packet[4] != 0x4f || packet[5] != 0x43)) return std::nullopt;
    return static_cast<std::uint16_t>(packet[6] << 8U | packet[7]);
  }

  // The host itself says that nobody listens: the packet has arrived.
  bool is_refusal(msghdr& message) const {
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      // struct sock_extended_err: errno (4 bytes), origin, type, code.
      std::array<std::uint8_t, 8> error{};
      if (header->cmsg_len < CMSG_LEN(error.size())) continue;
      std::memcpy(error.data(), CMSG_DATA(header), error.size());
      if (host_.is_v4() && error[5] == ICMP_DEST_UNREACH && error[6] == ICMP_PORT_UNREACH)
        return true;
      if (!host_.is_v4() && error[5] == ICMP6_DST_UNREACH && error[6] == ICMP6_DST_UNREACH_NOPORT)
        return true;
    }
    return false;
  }

  static void fill_checksum(std::vector<std::uint8_t>& packet) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < packet.size(); ++i)
      sum += i % 2 == 0 ? static_cast<std::uint32_t>(packet[i]) << 8U : packet[i];
    while (sum > 0xffffU)
      sum = (sum & 0xffffU) + (sum >> 16U);
    packet[2] = static_cast<std::uint8_t>((~sum >> 8U) & 0xffU);
    packet[3] = static_cast<std::uint8_t>(~sum & 0xffU);
  }

  IpAddress host_;
  bool udp_;
  bool raw_ = false;
  UniqueFd fd_;
};

void wait_for(int fd, Clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
  pollfd one{fd, POLLIN, 0};
  ::poll(&one, 1, static_cast<int>(std::clamp<long long>(left.count(), 0, 1000)));
}

// The search knows sizes of WireGuard's grid; between two of them are fifteen more.
unsigned refine(Pinger& pinger, unsigned known, unsigned largest) {
  unsigned best = known;
  for (int round = 0; round < 3; ++round) {
    for (unsigned size = std::min(largest, known + tunnel::mtu_step - 1); size > best; --size)
      pinger.send(static_cast<std::uint16_t>(0xf000U + (size - known)), size);
    const auto until = Clock::now() + 500ms;
    while (Clock::now() < until) {
      wait_for(pinger.fd(), until);
      while (const auto number = pinger.receive())
        if (*number > 0xf000U) best = std::max(best, known + (*number - 0xf000U));
    }
  }
  return best;
}

std::optional<unsigned> search_with(Pinger& pinger, Family family, unsigned largest) {
  PathMtuSearch search({.outer = family, .largest = largest, .raise = 1h});
  const auto begin = Clock::now();
  search.start(begin);
  bool heard = false;
  while (search.state() != tunnel::SearchState::complete) {
    const auto now = Clock::now();
    if (now - begin > patience || (!heard && now - begin > first_answer)) break;
    while (const auto probe = search.next_probe(Clock::now()))
      if (!pinger.send(static_cast<std::uint16_t>(probe->id & 0x7fffU), probe->size))
        search.on_refused(probe->id, Clock::now());
    while (const auto number = pinger.receive()) {
      heard = true;
      search.on_ack(*number, Clock::now());
    }
    wait_for(pinger.fd(), std::min(search.wake_at(), begin + patience));
  }
  if (!search.size()) return std::nullopt;
  return refine(pinger, *search.size(), largest);
}

}  // namespace

ProbedPath probe_path(const IpAddress& host, unsigned largest) {
  for (const bool udp : {false, true}) {
    Pinger pinger(host, udp);
    if (!pinger.usable()) continue;
    const auto found = search_with(pinger, host.family(), largest);
    if (found || udp) return {udp ? "UDP" : "ICMP echo", found};
  }
  return {"UDP", std::nullopt};
}

}  // namespace oceanid::cli
