#pragma once
// A smokescreen ACL file (version v1) as our `proxy.policy`. Pure. What smokescreen can say and we
// cannot, or decide differently, becomes a warning; nothing is opened that was closed there.
//
// smokescreen asks in this order: the service's allowed_domains, global_deny_list,
// global_allow_list, the service's action. A service is the client certificate's name.

#include "gateway/config/parse.hpp"

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::config {

struct ImportedPolicy {
  std::string yaml;
  std::vector<std::string> warnings;
};

std::expected<ImportedPolicy, std::vector<Problem>> import_smokescreen(std::string_view acl);

}  // namespace oceanid::config
