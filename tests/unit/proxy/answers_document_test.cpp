// deploy/ANSWERS.md is what the table of reasons says. To write it anew, run this program with
// OCEANID_WRITE_GENERATED=1 in its environment.
#include "proxy/core/answer.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

constexpr std::string_view introduction = R"(# Answers

How a request can end, in one vocabulary. The reason stands in the body, in `Proxy-Status` (RFC 9209; `reason=`), in
the access record's `error` and in the label `outcome` of `oceanid_proxy_requests_total`; status and phrase belong to
it one to one. After every refusal of a CONNECT the connection is closed (RFC 9931). With `Accept: application/json`
the body is JSON. Forwards have no words for a refusal: they reset, and the record has the reason.

| reason | status and phrase | Proxy-Status error | Retry-After | meaning |
|---|---|---|---|---|
)";

std::string document() {
  std::string out(introduction);
  for (const ReasonRow& row : reason_table())
    out +=
        fmt::format("| `{}` | {} {} | {} | {} | {} |\n", row.token, row.status, row.phrase,
                    row.proxy_error.empty() ? "" : fmt::format("`{}`", row.proxy_error),
                    row.retry_after == 0 ? "" : fmt::format("{} s", row.retry_after), row.meaning);
  return out;
}

TEST(AnswersDocument, IsTheCommittedOne) {
  const std::string path = std::string(OCEANID_SOURCE_DIR) + "/deploy/ANSWERS.md";
  if (std::getenv("OCEANID_WRITE_GENERATED") != nullptr) std::ofstream(path) << document();
  std::ifstream in(path, std::ios::binary);
  const std::string committed{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(committed == document())
      << "deploy/ANSWERS.md differs; run unit_proxy with OCEANID_WRITE_GENERATED=1 and commit the "
         "result";
}

}  // namespace
}  // namespace oceanid::proxy
