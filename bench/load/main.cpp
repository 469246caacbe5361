// oceanid-load: the load generator and its target for bench/run. Exit codes: 0 measured, 1 could
// not, 2 usage.

#include "bench/load/measure.hpp"
#include "bench/load/net.hpp"
#include "bench/load/options.hpp"
#include "bench/load/target.hpp"

#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace {

oceanid::Result<void> run(const oceanid::bench::Options& options) {
  using namespace oceanid::bench;
  switch (options.mode) {
    case Mode::target:
      return run_target(options);
    case Mode::rate:
      return measure_rate(options);
    case Mode::latency:
      return measure_latency(options);
    case Mode::bulk:
      return measure_bulk(options);
    case Mode::idle:
      return measure_idle(options);
  }
  return oceanid::fail(oceanid::Errc::invalid_argument, "unknown mode");
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = oceanid::bench::parse_options({argv + 1, argv + argc});
  if (!options) {
    fmt::print(stderr, "oceanid-load: {}\n{}", options.error().what, oceanid::bench::kUsage);
    return 2;
  }
  oceanid::bench::prepare_process();
  const auto done = run(*options);
  if (!done) {
    fmt::print(stderr, "oceanid-load: {}\n", done.error().what);
    return 1;
  }
  return 0;
}
