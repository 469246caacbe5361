#pragma once
// Runs the `nft` program as a child on the event loop: text on its standard input, its standard
// error captured, never waited for in a blocking way. One child at a time is the caller's business
// (the reconciler is serialised). The program is spawned and not linked because libnftables is
// GPL-2 and its version follows the host's kernel tools.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::routing {

struct NftOptions {
  std::string program = "nft";  // a bare name is searched in the sbin folders, then on PATH
  // One child; then it is killed. A second more for each 64 KiB of text: what replaces 250,000
  // elements (4 MB) took 15 s on two cores that others used, too.
  std::chrono::seconds timeout{30};
};

class NftRunner {
 public:
  NftRunner(asio::any_io_executor executor, NftOptions options);

  // `nft -c -f -` and, when the kernel agrees, `nft -f -`. Cancelling kills and reaps the child; a
  // transaction is all or nothing. Errors: not_found (no program), timeout, invalid_argument (nft's
  // words).
  // A text that was committed before is not checked again: the commit itself is all or nothing, the
  // check only keeps a new text from reaching it, and costs as much again.
  awaitable<Result<void>> apply(std::string text);
  // Called with the process id of every child that may commit, before its text can have been read.
  void set_on_child(std::function<void(std::uint32_t)> told) { on_child_ = std::move(told); }

 private:
  awaitable<Result<void>> run(std::vector<std::string> arguments, const std::string& text);

  asio::any_io_executor executor_;
  NftOptions options_;
  std::function<void(std::uint32_t)> on_child_;
  std::string committed_;
};

}  // namespace oceanid::routing
