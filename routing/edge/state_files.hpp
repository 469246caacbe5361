#pragma once
// What the routing side must know after a restart, in state_dir: former sysctl values, the nft text
// in force, the last good state. Small files, written to a temporary name, synced and renamed.
// Synchronous.

#include "gateway/base/error.hpp"
#include "routing/core/model.hpp"

#include <map>
#include <string>

namespace oceanid::routing {

struct SavedSysctl {
  std::string former;
  std::string written;
  bool operator==(const SavedSysctl&) const = default;
};

struct SavedSysctls {
  std::string boot_id;  // values of another boot say nothing about this one
  std::map<std::string, SavedSysctl> entries;
  bool operator==(const SavedSysctls&) const = default;
};

class StateFiles {
 public:
  explicit StateFiles(std::string directory) : directory_(std::move(directory)) {}

  // Empty when there is no file or it is of another boot. A damaged file is an error: the former
  // values are lost and the operator must know.
  Result<SavedSysctls> load_sysctls() const;
  Result<void> save_sysctls(const SavedSysctls& saved) const;  // no entries: removes the file
  Result<void> set_sysctls_aside() const;  // a damaged file, as *.damaged for the operator

  Result<std::string> load_nft() const;                  // not_found: none
  Result<void> save_nft(const std::string& text) const;  // empty: removes the file

  Result<NetworkState> load_last_good() const;  // not_found: none
  Result<void> save_last_good(const NetworkState& state) const;

 private:
  std::string path(std::string_view name) const;
  std::string directory_;
};

// JSON with a version number, as last_good.json holds it. Pure.
std::string encode_state(const NetworkState& state);
Result<NetworkState> decode_state(std::string_view text);

}  // namespace oceanid::routing
