#include "proxy/core/access_record.hpp"

#include "gateway/base/json_text.hpp"

#include <algorithm>
#include <concepts>
#include <string_view>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// At most record_text_limit bytes, never in the middle of a UTF-8 sequence (continuation bytes are
// 10xxxxxx).
std::string cut(std::string_view text) {
  if (text.size() <= record_text_limit) return std::string(text);
  std::size_t end = record_text_limit;
  while (end > record_text_limit - 4 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80)
    --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string milliseconds_text(std::chrono::microseconds value) {
  return fmt::format("{:.3f}", static_cast<double>(value.count()) / 1000.0);
}

class JsonWriter {
 public:
  void text(std::string_view name, std::string_view value) {
    begin(name);
    if (value.empty())
      out_ += "null";
    else
      append_json_string(out_, cut(value));
  }
  void raw(std::string_view name, std::string_view value) {
    begin(name);
    out_ += value.empty() ? "null" : value;
  }
  std::string finish() && { return std::move(out_) + '}'; }

 private:
  void begin(std::string_view name) {
    out_ += fmt::format("{}\"{}\":", out_.empty() ? "{" : ",", name);
  }
  std::string out_;
};

class TextWriter {
 public:
  void text(std::string_view name, std::string_view value) {
    const auto plain = [](char c) {
      return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
    };
    begin(name);
    if (value.empty())
      out_ += '-';
    else if (std::ranges::all_of(value, plain) && value != "-")
      out_ += cut(value);
    else
      append_json_string(out_, cut(value));
  }
  void raw(std::string_view name, std::string_view value) {
    begin(name);
    out_ += value.empty() ? "-" : value;
  }
  std::string finish() && { return std::move(out_); }

 private:
  void begin(std::string_view name) { out_ += fmt::format("{}{}=", out_.empty() ? "" : " ", name); }
  std::string out_;
};

std::string number(std::integral auto value) {
  return value == 0 ? std::string() : fmt::format("{}", value);
}

template <typename Writer>
std::string write(const AccessRecord& r) {
  Writer out;
  const auto duration = [&](std::string_view name, const AccessRecord::Duration& value) {
    out.raw(name, value ? milliseconds_text(*value) : std::string());
  };
  out.text("id", r.id);
  out.text("time", format_utc(r.time));
  out.text("source", r.source);
  out.text("role", r.role);
  out.text("method", r.method);
  out.text("host", r.host);
  out.raw("port", number(r.port));
  out.text("address", r.address);
  out.text("exit", r.exit);
  out.text("rule", r.rule);
  out.text("verdict", r.verdict);
  out.raw("status", number(r.status));
  out.text("error", r.error);
  duration("dns_ms", r.dns);
  duration("connect_ms", r.connect);
  duration("first_byte_ms", r.first_byte);
  duration("duration_ms", r.duration);
  out.raw("bytes_up", fmt::format("{}", r.bytes_up));
  out.raw("bytes_down", fmt::format("{}", r.bytes_down));
  out.text("closed_by", r.closed_by);
  return std::move(out).finish();
}

}  // namespace

std::string AccessRecord::to_json() const {
  return write<JsonWriter>(*this);
}
std::string AccessRecord::to_text() const {
  return write<TextWriter>(*this);
}

}  // namespace oceanid::proxy
