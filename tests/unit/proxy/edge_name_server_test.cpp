#include "tests/unit/proxy/edge_name_server.hpp"

#include <utility>

#include <gtest/gtest.h>

#include <sys/socket.h>

namespace oceanid::proxy::test {
namespace {

constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_aaaa = 28;

void append_u16(std::string& out, std::uint32_t value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}

}  // namespace

NameServer::NameServer(std::map<std::string, NameEntry> names)
    : names_(std::move(names)), fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  const NativeAddress any = to_native({IpAddress::parse("127.0.0.1").value(), 0});
  if (::bind(fd_.get(), any.get(), any.length) != 0) ADD_FAILURE() << "bind: " << errno;
  address_ = local_address(fd_.get());
  thread_ = std::thread([this] { serve(); });
}

NameServer::~NameServer() {
  // An empty datagram ends the thread.
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const NativeAddress raw = to_native(address_);
  ::sendto(fd.get(), "", 0, 0, raw.get(), raw.length);
  thread_.join();
}

void NameServer::set(const std::string& name, NameEntry entry) {
  const std::lock_guard lock(mutex_);
  names_[name] = std::move(entry);
}

int NameServer::queries(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = queries_.find(name);
  return found == queries_.end() ? 0 : found->second;
}

void NameServer::serve() {
  for (;;) {
    std::string query(1500, '\0');
    NativeAddress from;
    const ssize_t got =
        ::recvfrom(fd_.get(), query.data(), query.size(), 0, from.get(), &from.length);
    if (got <= 0) return;
    query.resize(static_cast<std::size_t>(got));
    const std::string reply = answer(query);
    if (!reply.empty()) ::sendto(fd_.get(), reply.data(), reply.size(), 0, from.get(), from.length);
  }
}

// RFC 1035 section 4: one question is echoed, the answers point back at its name.
std::string NameServer::answer(const std::string& query) {
  std::string name;
  std::size_t at = 12;
  while (at < query.size() && query[at] != 0) {
    const auto length = static_cast<std::size_t>(query[at]);
    if (!name.empty()) name += '.';
    name += query.substr(at + 1, length);
    at += 1 + length;
  }
  const auto type = static_cast<std::uint16_t>(query[at + 2]);
  const std::string question = query.substr(12, at + 5 - 12);

  const std::lock_guard lock(mutex_);
  const auto found = names_.find(name);
  const NameEntry entry = found == names_.end() ? NameEntry{.exists = false} : found->second;
  if (type == type_a) ++queries_[name];
  if ((type == type_a && entry.silent_a) || (type == type_aaaa && entry.silent_aaaa)) return {};
  const auto& addresses = type == type_a ? entry.a : entry.aaaa;

  std::string out = query.substr(0, 2);
  append_u16(out, 0x8180U | (entry.exists ? 0U : 3U));
  append_u16(out, 1);
  append_u16(out, static_cast<std::uint32_t>(addresses.size()));
  append_u16(out, 0);
  append_u16(out, 0);
  out += question;
  for (const auto& text : addresses) {
    append_u16(out, 0xc00c);
    append_u16(out, type);
    append_u16(out, 1);
    append_u16(out, entry.ttl >> 16);
    append_u16(out, entry.ttl & 0xffff);
    const IpAddress address = IpAddress::parse(text).value();
    append_u16(out, static_cast<std::uint32_t>(address.bytes().size()));
    for (const auto byte : address.bytes())
      out += static_cast<char>(byte);
  }
  return out;
}

}  // namespace oceanid::proxy::test
