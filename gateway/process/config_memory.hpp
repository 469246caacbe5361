#pragma once
// Which configurations were accepted and which were not, across restarts (routing.confirm). In
// state_dir, mode 0600:
//
//   last_good.yaml     what stands: confirmed, or taken without being asked to wait for it
//   unconfirmed.yaml   what was on probation and was never confirmed
//
// Both with the lists that they name, as they were then (to_record()).
//
// The second one is written before the kernel hears of the change, so that whatever ends netd while
// a change is on probation (a crash, a power cut, an operator who pulls the plug because the node
// does not answer any more) the next start comes up with the first one.
// Lives on netd's event loop.

#include "gateway/base/error.hpp"
#include "gateway/config/load.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace oceanid::process {

class ConfigMemory {
 public:
  explicit ConfigMemory(std::string state_dir);

  const std::string& last_good() const { return last_good_; }      // empty: none
  const std::string& unconfirmed() const { return unconfirmed_; }  // empty: none

  // This record stands from now on, and nothing waits any more. An error: the disk has what it had,
  // and the next start asks for a confirmation again.
  Result<void> accept(const std::string& record);
  // Empty: nothing was on probation.
  Result<void> set_unconfirmed(const std::string& record);

 private:
  std::string path(const char* name) const;
  std::string state_dir_;
  std::string last_good_;
  std::string unconfirmed_;
  std::string stored_unconfirmed_;  // as the file has it: the disk may have been full
};

// How `oceanid run` comes up.
struct StartConfig {
  LoadedConfig loaded;
  std::optional<LoadedConfig>
      former;               // the start is on probation, and this is what it goes back to
  std::string passed_over;  // why the file is not what is in force; empty: it is
};

// `file` is a valid configuration. A text that was never confirmed is passed over for the last good
// one; one that changes the kernel's state starts on probation.
StartConfig choose_start(LoadedConfig file, const ConfigMemory& memory);

// How long a change between these waits for its confirmation; zero: it does not. The longest wish
// counts: a change that switches confirming off is itself confirmed.
std::chrono::milliseconds probation_time(const Config& former, const Config& next);

}  // namespace oceanid::process
