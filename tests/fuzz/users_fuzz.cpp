// Users' files and Proxy-Authorization fields from arbitrary bytes. What must hold: what is
// accepted stays within its limits, and no problem's text repeats a hash.
#include "proxy/core/htpasswd.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::proxy;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const UsersFile file = parse_users(text);
  for (const auto& [user, hash] : file.users) {
    require(!user.empty() && user.size() <= max_user);
    require(hash.starts_with("$2") || hash.starts_with("$5$") || hash.starts_with("$6$"));
  }
  for (const auto& problem : file.problems)
    require(problem.starts_with("line ") && !problem.contains("$2y$0") && problem.size() < 120);
  if (const auto given = parse_basic(text)) {
    require(!given->user.empty() && given->user.size() <= max_user);
    require(given->password.size() <= max_password && !given->password.contains('\0'));
  }
  return 0;
}
