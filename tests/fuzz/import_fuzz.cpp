// smokescreen ACL files from arbitrary bytes. What must hold: what comes out is a configuration
// that our own parser accepts.
#include "gateway/config/import_smokescreen.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid;
  const auto imported =
      config::import_smokescreen(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!imported) {
    if (imported.error().empty()) std::abort();
    return 0;
  }
  if (!parse(imported->yaml, {})) std::abort();
  return 0;
}
