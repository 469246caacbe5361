#pragma once
// The gateway as a process tree: `oceanid run`. Reads as a column of steps in run.cpp.

#include <string>

namespace oceanid::process {

// Returns the exit code: 0 ended in order, 1 failed, 2 the configuration is wrong.
int run_gateway(const std::string& config_file);

const char* version();

}  // namespace oceanid::process
