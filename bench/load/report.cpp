#include "bench/load/report.hpp"

#include "gateway/base/json_text.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>

#include <fmt/format.h>

namespace oceanid::bench {

void Samples::add(Clock::duration time) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  constexpr auto kMost = std::int64_t{std::numeric_limits<std::uint32_t>::max()};
  times_.push_back(
      static_cast<std::uint32_t>(std::clamp(std::int64_t{ns}, std::int64_t{0}, kMost)));
}

std::string Samples::to_json() {
  if (times_.empty()) {
    return "null";
  }
  std::sort(times_.begin(), times_.end());
  const auto quantile_us = [this](double part) {
    const auto index = static_cast<std::size_t>(part * static_cast<double>(times_.size()));
    return times_[std::min(index, times_.size() - 1)] / 1e3;
  };
  return fmt::format(R"({{"p50_us":{:.1f},"p99_us":{:.1f},"p999_us":{:.1f}}})", quantile_us(0.5),
                     quantile_us(0.99), quantile_us(0.999));
}

void Failures::add(const std::string& reason) {
  if (count_++ == 0) {
    first_ = reason;
  }
}

std::string Failures::to_json() const {
  std::string quoted;
  append_json_string(quoted, first_);
  return fmt::format(R"({{"count":{},"first":{}}})", count_, quoted);
}

void print_line(const std::string& json) {
  fmt::print("{}\n", json);
  static_cast<void>(std::fflush(stdout));
}

Window::Window(const Options& options, Clock::time_point start)
    : begin_(start + options.warmup), end_(begin_ + options.window) {}

void Window::open() {
  begun_ = true;
  print_line(R"({"event":"begin"})");
  opened_at_ = Clock::now();
  cpu_ = cpu_seconds();
}

void Window::close() {
  closed_at_ = Clock::now();
  cpu_ = cpu_seconds() - cpu_;
  print_line(R"({"event":"end"})");
}

}  // namespace oceanid::bench
