#include "tests/unit/proxy/edge_name_server.hpp"

#include "tests/unit/proxy/dns_wire.hpp"

#include <array>
#include <utility>

#include <gtest/gtest.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace oceanid::proxy::test {
namespace {

// The name and type of a query's question, in text and as they came.
struct Question {
  std::string name;
  std::uint16_t type = 0;
  std::string raw;
};

Question question_of(const std::string& query) {
  Question out;
  std::size_t at = 12;
  while (at < query.size() && query[at] != 0) {
    const auto length = static_cast<std::size_t>(query[at]);
    if (!out.name.empty()) out.name += '.';
    out.name += query.substr(at + 1, length);
    at += 1 + length;
  }
  out.type = static_cast<std::uint16_t>(query[at + 2]);
  out.raw = query.substr(12, at + 5 - 12);
  return out;
}

DnsMessage message_for(const Question& question, const NameEntry& entry, bool tcp) {
  DnsMessage out;
  out.question = question.raw;
  out.flags = entry.fails ? 0x8182 : entry.exists ? 0x8180 : 0x8183;
  if (entry.soa_minimum)
    out.authority = {{dns_name("test"), dns_soa, 3600, dns_soa_data(*entry.soa_minimum)}};
  if (entry.truncated && !tcp) {
    out.flags |= 0x0200;
    return out;
  }
  if (entry.fails || !entry.exists) return out;
  std::string owner = dns_asked_name;
  for (const auto& [alias, ttl] : entry.chain) {
    out.answers.push_back({owner, dns_cname, ttl, dns_name(alias)});
    owner = dns_name(alias);
  }
  for (const auto& text : question.type == dns_a ? entry.a : entry.aaaa)
    out.answers.push_back({owner, question.type, entry.ttl, dns_address(text)});
  return out;
}

}  // namespace

NameServer::NameServer(std::map<std::string, NameEntry> names)
    : names_(std::move(names)), ended_(::eventfd(0, EFD_CLOEXEC)) {
  // The same port for both: another test may hold one of them.
  for (int i = 0; i < 100 && !tcp_; ++i) {
    udp_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const NativeAddress any = to_native({IpAddress::parse("127.0.0.1").value(), 0});
    if (::bind(udp_.get(), any.get(), any.length) != 0) ADD_FAILURE() << "bind: " << errno;
    address_ = local_address(udp_.get());
    UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const NativeAddress same = to_native(address_);
    if (::bind(tcp.get(), same.get(), same.length) == 0 && ::listen(tcp.get(), 16) == 0)
      tcp_ = std::move(tcp);
  }
  thread_ = std::thread([this] { serve(); });
}

NameServer::~NameServer() {
  ::eventfd_write(ended_.get(), 1);
  thread_.join();
}

void NameServer::set(const std::string& name, NameEntry entry) {
  const std::lock_guard lock(mutex_);
  names_[name] = std::move(entry);
}

void NameServer::release() {
  const std::lock_guard lock(mutex_);
  for (const auto& [reply, to] : std::exchange(held_, {}))
    send(reply, to);
}

int NameServer::queries(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = queries_.find(name);
  return found == queries_.end() ? 0 : found->second;
}

void NameServer::serve() {
  for (;;) {
    std::array<pollfd, 3> fds{pollfd{ended_.get(), POLLIN, 0}, pollfd{udp_.get(), POLLIN, 0},
                              pollfd{tcp_.get(), POLLIN, 0}};
    ::poll(fds.data(), fds.size(), -1);
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) serve_udp();
    if (fds[2].revents != 0) serve_tcp();
  }
}

void NameServer::send(const std::string& reply, const NativeAddress& to) {
  ::sendto(udp_.get(), reply.data(), reply.size(), 0, to.get(), to.length);
}

void NameServer::serve_udp() {
  std::string query(1500, '\0');
  NativeAddress from;
  const ssize_t got =
      ::recvfrom(udp_.get(), query.data(), query.size(), 0, from.get(), &from.length);
  if (got <= 0) return;
  query.resize(static_cast<std::size_t>(got));
  for (const std::string& reply : answer(query, false, from))
    if (!silent_) send(reply, from);
}

void NameServer::serve_tcp() {
  Peer client(UniqueFd(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  const std::string size = client.recv_exact(2);
  if (size.size() < 2 || silent_) return;
  ++over_tcp_;
  const auto expected =
      static_cast<unsigned char>(size[0]) * 256U + static_cast<unsigned char>(size[1]);
  for (const std::string& reply : answer(client.recv_exact(expected), true, {}))
    client.send_all(dns_u16(static_cast<std::uint32_t>(reply.size())) + reply);
}

std::vector<std::string> NameServer::answer(const std::string& query, bool tcp,
                                            const NativeAddress& from) {
  const Question question = question_of(query);
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(question.name);
  const NameEntry entry = found == names_.end() ? NameEntry{.exists = false} : found->second;
  if (question.type == dns_a) ++queries_[question.name];
  if (question.type == dns_a ? entry.silent_a : entry.silent_aaaa) return {};

  std::vector<std::string> out;
  DnsMessage message = message_for(question, entry, tcp);
  message.id = static_cast<std::uint16_t>(static_cast<unsigned char>(query[0]) << 8U |
                                          static_cast<unsigned char>(query[1]));
  if (entry.forged) {
    DnsMessage forged = message;
    forged.answers = {{dns_asked_name, dns_a, 60, dns_address("127.0.0.66")}};
    forged.id = static_cast<std::uint16_t>(message.id + 1);
    out.push_back(encode(forged));
    forged.id = message.id;
    forged.question = dns_question("foreign.test", question.type);
    out.push_back(encode(forged));
  }
  if (question.type == dns_aaaa && entry.held_aaaa) {
    held_.emplace_back(encode(message), from);
    return {};
  }
  out.push_back(encode(message));
  return out;
}

}  // namespace oceanid::proxy::test
