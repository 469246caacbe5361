#include "tunnel/core/connect_answer.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::size_t most_bytes = 8192;
constexpr std::string_view end_of_head = "\r\n\r\n";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

std::string connect_request(std::string_view host_and_port, std::string_view authorization) {
  std::string out = "CONNECT ";
  out.append(host_and_port).append(" HTTP/1.1\r\nHost: ").append(host_and_port).append("\r\n");
  if (!authorization.empty()) out.append("Proxy-Authorization: ").append(authorization) += "\r\n";
  return out + "\r\n";
}

ConnectAnswer::State ConnectAnswer::feed(std::string_view bytes) {
  taken_ = 0;
  if (state_ != State::need_more) return state_;
  for (const char c : bytes) {
    head_.push_back(c);
    ++taken_;
    if (head_.ends_with(end_of_head)) {
      state_ = judge();
      if (state_ != State::need_more) return state_;
    }
    if (head_.size() >= most_bytes) return state_ = State::broken;
  }
  return state_;
}

// "HTTP/1.1 200 Connection established"
ConnectAnswer::State ConnectAnswer::judge() {
  constexpr std::size_t code_at = 9;
  const std::string_view line = std::string_view(head_).substr(0, head_.find("\r\n"));
  if (line.size() < code_at + 3 ||
      !(line.starts_with("HTTP/1.0 ") || line.starts_with("HTTP/1.1 ")))
    return State::broken;
  const std::string_view code = line.substr(code_at, 3);
  const bool ends = line.size() == code_at + 3 || line[code_at + 3] == ' ';
  if (!ends || !std::ranges::all_of(code, is_digit)) return State::broken;
  status_ = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
  if (status_ < 100 || status_ > 599) return State::broken;
  if (status_ < 200) {  // an interim answer: the one that counts is to come
    head_.clear();
    return State::need_more;
  }
  return status_ < 300 ? State::granted : State::refused;
}

}  // namespace oceanid::tunnel
