#include "gateway/base/runtime/state_file.hpp"
#include "routing/edge/state_files.hpp"

#include <cerrno>

#include <boost/json.hpp>
#include <boost/system/error_code.hpp>

#include <sys/stat.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

namespace json = boost::json;
constexpr std::size_t most_bytes = 16 << 20;  // a ruleset with large sets inside
constexpr std::string_view sysctls_file = "sysctls.json";
constexpr std::string_view nft_file = "applied.nft";
constexpr std::string_view last_good_file = "last_good.json";

Result<void> replace_file(const std::string& directory, const std::string& path,
                          std::string_view text) {
  if (::mkdir(directory.c_str(), 0700) < 0 && errno != EEXIST) return fail_errno(directory);
  return write_file_atomically(path, text, 0600);
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return fail_errno(path);
  return {};
}

Result<std::string> current_boot_id() {
  auto id = read_small_file("/proc/sys/kernel/random/boot_id", most_bytes);
  if (id)
    while (id->ends_with('\n'))
      id->pop_back();
  return id;
}

const json::string* member(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value ? value->if_string() : nullptr;
}

Result<SavedSysctls> decode_sysctls(const std::string& text, const std::string& path) {
  const auto damaged = [&] {
    return fail(Errc::protocol, path + " is damaged: the former sysctl values are not known");
  };
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error || !root.is_object()) return damaged();
  const auto* boot_id = member(root.get_object(), "boot_id");
  const json::value* entries = root.get_object().if_contains("entries");
  if (!boot_id || !entries || !entries->is_object()) return damaged();
  SavedSysctls out;
  out.boot_id = std::string(*boot_id);
  for (const auto& entry : entries->get_object()) {
    const json::object* values = entry.value().if_object();
    const auto* former = values ? member(*values, "former") : nullptr;
    const auto* written = values ? member(*values, "written") : nullptr;
    if (!former || !written) return damaged();
    out.entries[std::string(entry.key())] =
        SavedSysctl{std::string(*former), std::string(*written)};
  }
  return out;
}

}  // namespace

std::string StateFiles::path(std::string_view name) const {
  return directory_ + "/" + std::string(name);
}

Result<SavedSysctls> StateFiles::load_sysctls() const {
  auto boot_id = current_boot_id();
  if (!boot_id) return std::unexpected(std::move(boot_id.error()));
  const std::string file = path(sysctls_file);
  auto text = read_small_file(file, most_bytes);
  if (!text && text.error().code != Errc::not_found)
    return std::unexpected(std::move(text.error()));
  if (text) {
    auto saved = decode_sysctls(*text, file);
    if (!saved || saved->boot_id == *boot_id) return saved;
  }
  return SavedSysctls{std::move(*boot_id), {}};
}

Result<void> StateFiles::save_sysctls(const SavedSysctls& saved) const {
  if (saved.entries.empty()) return remove_file(path(sysctls_file));
  json::object entries;
  for (const auto& [name, values] : saved.entries)
    entries[name] = json::object{{"former", values.former}, {"written", values.written}};
  const json::object root{{"boot_id", saved.boot_id}, {"entries", std::move(entries)}};
  return replace_file(directory_, path(sysctls_file), json::serialize(root) + "\n");
}

Result<void> StateFiles::set_sysctls_aside() const {
  const std::string file = path(sysctls_file);
  if (::rename(file.c_str(), (file + ".damaged").c_str()) < 0) return fail_errno(file);
  return {};
}

Result<std::string> StateFiles::load_nft() const {
  return read_small_file(path(nft_file), most_bytes);
}

Result<void> StateFiles::save_nft(const std::string& text) const {
  if (text.empty()) return remove_file(path(nft_file));
  return replace_file(directory_, path(nft_file), text);
}

Result<NetworkState> StateFiles::load_last_good() const {
  const std::string file = path(last_good_file);
  auto text = read_small_file(file, most_bytes);
  if (!text) return std::unexpected(std::move(text.error()));
  auto state = decode_state(*text);
  if (!state) return std::unexpected(std::move(state.error()).context(file));
  return state;
}

Result<void> StateFiles::save_last_good(const NetworkState& state) const {
  return replace_file(directory_, path(last_good_file), encode_state(state));
}

}  // namespace oceanid::routing
