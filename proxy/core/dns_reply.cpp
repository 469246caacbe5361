#include "proxy/core/dns_reply.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace oceanid::proxy {
namespace {

constexpr std::size_t header_size = 12;
constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_cname = 5;
constexpr std::uint16_t type_soa = 6;
constexpr std::uint16_t type_aaaa = 28;
constexpr std::uint16_t class_in = 1;
constexpr unsigned rcode_no_error = 0;
constexpr unsigned rcode_no_name = 3;
// Longer chains are somebody's mistake or loop; resolvers give up at about the same length.
constexpr std::size_t most_aliases = 16;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Reads forward; once something is missing it stays broken and yields zeros.
class Reader {
 public:
  explicit Reader(std::string_view message) : message_(message) {}

  std::uint32_t number(std::size_t bytes) {
    std::uint32_t out = 0;
    for (const char c : take(bytes))
      out = out << 8U | static_cast<unsigned char>(c);
    return out;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }

  std::string_view take(std::size_t bytes) {
    if (!good_ || message_.size() - at_ < bytes) {
      good_ = false;
      return {};
    }
    at_ += bytes;
    return message_.substr(at_ - bytes, bytes);
  }

  // A domain name in lower case, labels joined by dots. A pointer must lead backwards from where
  // the name began, and each further one from where the last one led: so every name ends.
  std::string name() {
    std::string out;
    std::size_t limit = at_;
    std::size_t place = at_;
    bool followed = false;
    for (;;) {
      if (place >= message_.size()) return broken();
      const auto length = static_cast<unsigned char>(message_[place]);
      if ((length & 0xc0U) == 0xc0U) {
        if (place + 2 > message_.size()) return broken();
        const std::size_t to =
            (length & 0x3fU) << 8U | static_cast<unsigned char>(message_[place + 1]);
        if (!followed) at_ = place + 2;
        followed = true;
        if (to >= limit) return broken();
        limit = place = to;
        continue;
      }
      if (length > 63) return broken();
      ++place;
      if (length == 0) break;
      if (place + length > message_.size()) return broken();
      if (!out.empty()) out += '.';
      // A dot inside a label would read as two labels: no name of ours holds one.
      for (const char c : message_.substr(place, length))
        out += c == '.' ? '\0' : lower(c);
      if (out.size() > 253) return broken();
      place += length;
    }
    if (!followed) at_ = place;
    return out;
  }

  bool good() const { return good_; }
  std::size_t at() const { return at_; }
  void skip_to(std::size_t at) { at_ = at; }

 private:
  std::string broken() {
    good_ = false;
    return {};
  }

  std::string_view message_;
  std::size_t at_ = 0;
  bool good_ = true;
};

struct Record {
  std::string owner;
  std::uint16_t type = 0;
  std::uint16_t rr_class = 0;
  std::uint32_t ttl = 0;
  std::size_t data_at = 0;
  std::size_t data_end = 0;
};

Record read_record(Reader& in) {
  Record out;
  out.owner = in.name();
  out.type = in.u16();
  out.rr_class = in.u16();
  out.ttl = in.number(4);
  if (out.ttl > 0x7fffffffU) out.ttl = 0;  // RFC 2181 section 8
  const std::size_t size = in.u16();
  out.data_at = in.at();
  in.take(size);
  out.data_end = in.at();
  return out;
}

struct Alias {
  std::string owner;
  std::string target;
  std::uint32_t ttl = 0;
};
struct Found {
  std::string owner;
  IpAddress address;
  std::uint32_t ttl = 0;
};

IpAddress address_of(std::string_view data) {
  if (data.size() == 4) {
    std::array<std::uint8_t, 4> raw{};
    std::ranges::transform(data, raw.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
    return IpAddress::v4(raw);
  }
  // IPv4-mapped becomes IPv4, as with every address here.
  std::array<std::uint8_t, 16> raw{};
  std::ranges::transform(data, raw.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
  return unmapped(IpAddress::v6(raw));
}

struct Answers {
  std::vector<Alias> aliases;
  std::vector<Found> found;
};

bool read_answers(Reader& in, std::string_view message, std::size_t count, Family family,
                  Answers& out) {
  const auto wanted = family == Family::v4 ? type_a : type_aaaa;
  const std::size_t size = family == Family::v4 ? 4 : 16;
  for (std::size_t i = 0; i < count && in.good(); ++i) {
    Record record = read_record(in);
    if (!in.good() || record.rr_class != class_in) continue;
    if (record.type == type_cname && out.aliases.size() < most_aliases) {
      in.skip_to(record.data_at);
      out.aliases.push_back({std::move(record.owner), in.name(), record.ttl});
      if (in.at() != record.data_end) return false;
    } else if (record.type == wanted && out.found.size() < 2 * most_addresses) {
      const auto data = message.substr(record.data_at, record.data_end - record.data_at);
      if (data.size() != size) return false;
      out.found.push_back({std::move(record.owner), address_of(data), record.ttl});
    }
  }
  return in.good();
}

std::optional<std::chrono::seconds> soa_ttl(Reader& in, std::size_t count) {
  for (std::size_t i = 0; i < count && in.good(); ++i) {
    const Record record = read_record(in);
    if (!in.good() || record.type != type_soa || record.rr_class != class_in) continue;
    in.skip_to(record.data_at);
    in.name();    // MNAME
    in.name();    // RNAME
    in.take(16);  // SERIAL, REFRESH, RETRY, EXPIRE
    const std::uint32_t minimum = in.number(4);
    if (!in.good() || in.at() != record.data_end) return std::nullopt;
    return std::chrono::seconds(std::min(record.ttl, minimum));
  }
  return std::nullopt;
}

// From the question's name along its aliases to the addresses at their end; the least TTL met.
std::uint32_t follow(const Answers& answers, std::string at, DnsReply& out) {
  std::uint32_t ttl = 0x7fffffff;
  for (std::size_t step = 0; step < most_aliases; ++step) {
    const auto next = std::ranges::find(answers.aliases, at, &Alias::owner);
    if (next == answers.aliases.end()) break;
    at = next->target;
    ttl = std::min(ttl, next->ttl);
  }
  for (const Found& one : answers.found) {
    if (one.owner != at || out.addresses.size() == most_addresses ||
        std::ranges::find(out.addresses, one.address) != out.addresses.end())
      continue;
    ttl = std::min(ttl, one.ttl);
    out.addresses.push_back(one.address);
  }
  return ttl;
}

}  // namespace

std::optional<DnsReply> read_dns_reply(std::string_view message, std::string_view name,
                                       Family family) {
  if (message.size() < header_size) return std::nullopt;
  Reader in(message);
  in.u16();  // the id, which c-ares has compared
  const std::uint16_t flags = in.u16();
  const std::uint16_t questions = in.u16();
  const std::uint16_t answer_count = in.u16();
  const std::uint16_t authority_count = in.u16();
  in.u16();  // what comes in the additional section is of no use here
  const unsigned rcode = flags & 0xfU;
  const bool reply = (flags & 0x8000U) != 0 && (flags & 0x0200U) == 0;
  if (!reply || questions != 1 || (rcode != rcode_no_error && rcode != rcode_no_name))
    return std::nullopt;

  const std::string asked = in.name();
  const std::uint16_t type = in.u16();
  const std::uint16_t asked_class = in.u16();
  if (!in.good() || type != (family == Family::v4 ? type_a : type_aaaa) ||
      asked_class != class_in || !std::ranges::equal(asked, name, {}, lower, lower))
    return std::nullopt;

  Answers answers;
  if (!read_answers(in, message, answer_count, family, answers)) return std::nullopt;
  DnsReply out;
  const std::chrono::seconds chain(follow(answers, asked, out));
  if (rcode == rcode_no_name) {
    out.outcome = DnsReply::Outcome::no_name;
    out.addresses.clear();
  } else if (!out.addresses.empty()) {
    out.outcome = DnsReply::Outcome::addresses;
    out.ttl = chain;
    return out;
  }
  if (const auto none = soa_ttl(in, authority_count)) out.ttl = std::min(*none, chain);
  if (!in.good()) return std::nullopt;
  return out;
}

}  // namespace oceanid::proxy
