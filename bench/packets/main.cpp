// Small UDP packets to many destinations as fast as one thread can make them, for bench/forward.
//
// On veth the whole way through a router is done in the sender's context (netif_rx and the softirq
// behind it run on the same core), so the time that a packet takes here is the cost of its path.
//
// usage: oceanid-packets FIRST STEP COUNT SIZE SECONDS
//   FIRST, STEP, COUNT: IPv4 addresses, in turn: FIRST, FIRST + STEP, …; SIZE: bytes of payload
// Prints the number of packets and the nanoseconds that they took.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace {

constexpr std::size_t batch = 64;
constexpr std::uint16_t discard = 9;

std::vector<sockaddr_in> destinations(std::uint32_t first, std::uint32_t step, std::size_t count) {
  std::vector<sockaddr_in> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].sin_family = AF_INET;
    out[i].sin_port = htons(discard);
    // 2654435761 is Knuth's multiplier: neighbours in time are no neighbours in a tree of
    // addresses.
    const auto place = static_cast<std::uint32_t>(i * 2654435761U % count);
    out[i].sin_addr.s_addr = htonl(first + place * step);
  }
  return out;
}

}  // namespace

int main(int count, char** words) {
  in_addr first{};
  if (count != 6 || inet_pton(AF_INET, words[1], &first) != 1) {
    std::fputs("usage: oceanid-packets FIRST STEP COUNT SIZE SECONDS\n", stderr);
    return 2;
  }
  const auto number = [&](int i) { return std::strtoul(words[i], nullptr, 10); };
  auto targets =
      destinations(ntohl(first.s_addr), static_cast<std::uint32_t>(number(2)), number(3));
  std::vector<char> payload(number(4));
  const std::chrono::seconds window(number(5));
  const int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0 || targets.empty()) return 1;

  iovec data{payload.data(), payload.size()};
  std::array<mmsghdr, batch> messages{};
  for (auto& one : messages) {
    one.msg_hdr.msg_iov = &data;
    one.msg_hdr.msg_iovlen = 1;
    one.msg_hdr.msg_namelen = sizeof(sockaddr_in);
  }
  std::size_t next = 0;
  std::uint64_t sent = 0;
  const auto burst = [&] {
    for (auto& one : messages) {
      one.msg_hdr.msg_name = &targets[next];
      next = next + 1 == targets.size() ? 0 : next + 1;
    }
    const int done = sendmmsg(sock, messages.data(), batch, 0);
    if (done > 0) sent += static_cast<std::uint64_t>(done);
  };
  // Every flow exists before the clock starts: what is measured is a packet, not a connection.
  for (std::size_t i = 0; i <= targets.size() / batch; ++i)
    burst();
  sent = 0;
  const auto start = std::chrono::steady_clock::now();
  auto now = start;
  while (now - start < window) {
    for (int i = 0; i < 16; ++i)
      burst();
    now = std::chrono::steady_clock::now();
  }
  const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(now - start).count();
  std::printf("%llu %lld\n", static_cast<unsigned long long>(sent), static_cast<long long>(took));
}
