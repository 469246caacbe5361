#pragma once
// The command line: `oceanid COMMAND [options]`. Exit codes: 0 ok, 1 failed, 2 usage or
// configuration.

namespace oceanid::cli {

int run(int argc, char** argv);

}  // namespace oceanid::cli
