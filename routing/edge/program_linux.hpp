#pragma once
// A program that a command line waits for. Never from an event loop: see nft_runner.hpp.

#include "gateway/base/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace oceanid::routing {

struct Ran {
  int status = 0;  // exit code; 128 and more: ended by a signal
  std::string output;
};

// Searched in the sbin folders, then on PATH. Its standard error goes nowhere.
Result<Ran> run_program(const std::vector<std::string>& words, std::string_view input);

}  // namespace oceanid::routing
