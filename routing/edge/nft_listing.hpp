#pragma once
// What `nft -j list ruleset` says about other people's tables. Pure. For `check --system` only:
// listing takes most of a second where large sets are (measured), the gateway itself never does it.

#include "gateway/base/error.hpp"
#include "routing/core/host_check.hpp"

#include <string_view>

namespace oceanid::routing {

Result<NftSurvey> survey_of_listing(std::string_view json);

}  // namespace oceanid::routing
