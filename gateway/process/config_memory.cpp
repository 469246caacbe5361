#include "gateway/process/config_memory.hpp"

#include "gateway/base/runtime/state_file.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/config/prefix_file.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/state_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

constexpr const char* last_good_file = "last_good.yaml";
constexpr const char* unconfirmed_file = "unconfirmed.yaml";

std::string read_or_empty(const std::string& path) {
  constexpr std::size_t most = max_config_bytes + 4 * config::max_prefix_file_bytes;
  return read_small_file(path, most).value_or(std::string());
}

void sync_folder(const std::string& folder) {
  const UniqueFd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened) ::fsync(opened.get());
}

std::chrono::milliseconds wish(const Config& config) {
  return config.routing ? config.routing->confirm : std::chrono::milliseconds(0);
}

}  // namespace

ConfigMemory::ConfigMemory(std::string state_dir) : state_dir_(std::move(state_dir)) {
  last_good_ = read_or_empty(path(last_good_file));
  unconfirmed_ = stored_unconfirmed_ = read_or_empty(path(unconfirmed_file));
}

std::string ConfigMemory::path(const char* name) const {
  return state_dir_ + "/" + name;
}

Result<void> ConfigMemory::accept(const std::string& record) {
  if (record.empty()) return {};  // the embedded default is never changed
  if (record == last_good_) return set_unconfirmed({});
  unconfirmed_.clear();
  // What was on probation needs another name and no room, which a full disk does not have.
  if (record == stored_unconfirmed_ &&
      ::rename(path(unconfirmed_file).c_str(), path(last_good_file).c_str()) == 0) {
    sync_folder(state_dir_);
    last_good_ = std::exchange(stored_unconfirmed_, {});
    return {};
  }
  auto written = ensure_folder(state_dir_, 0700);
  if (written) written = write_file_atomically(path(last_good_file), record, 0600);
  if (!written) return written;  // what stood before is still there
  last_good_ = record;
  return set_unconfirmed({});
}

Result<void> ConfigMemory::set_unconfirmed(const std::string& record) {
  unconfirmed_ = record;
  if (record == stored_unconfirmed_) return {};
  const std::string file = path(unconfirmed_file);
  if (record.empty()) {
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return fail_errno("remove " + file);
  } else {
    auto made = ensure_folder(state_dir_, 0700);
    if (made) made = write_file_atomically(file, record, 0600);
    if (!made) return made;
  }
  stored_unconfirmed_ = record;
  return {};
}

std::chrono::milliseconds probation_time(const Config& former, const Config& next) {
  return std::max(wish(former), wish(next));
}

StartConfig choose_start(LoadedConfig file, const ConfigMemory& memory) {
  StartConfig out;
  out.loaded = std::move(file);
  const std::string record = to_record(out.loaded);
  if (memory.last_good().empty() || record == memory.last_good()) return out;
  LoadedConfig former = load_record(out.loaded.path, memory.last_good());
  if (!former.config) return out;  // another version wrote it: nothing to go back to
  if (record == memory.unconfirmed()) {
    out.passed_over =
        "the file holds a change that was never confirmed; what was in force before it is in "
        "force again. Change the file, or try it again with `oceanid reload`";
    out.loaded = std::move(former);
    return out;
  }
  if (probation_time(*former.config, *out.loaded.config).count() > 0 &&
      !same_kernel_state(*former.config, *out.loaded.config))
    out.former = std::move(former);
  return out;
}

}  // namespace oceanid::process
