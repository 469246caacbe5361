// deploy/ANSWERS.md is what the table of reasons says. To write it anew, run this program with
// OCEANID_WRITE_GENERATED=1 in its environment.
#include "proxy/core/access_record.hpp"
#include "proxy/core/answer.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
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

constexpr std::string_view records = R"(
# Access records

One line for each request or forwarded connection, written when it ends; as JSON, or as text with `-` for what has no
value. Its fields, in this order:
)";

// As the record itself writes them.
std::string record_fields() {
  const std::string json = AccessRecord().to_json();
  const std::regex key(R"re("(\w+)":)re");
  std::string out;
  for (std::sregex_iterator at(json.begin(), json.end(), key), end; at != end; ++at)
    out += fmt::format("{}`{}`", out.empty() ? "" : ", ", (*at)[1].str());
  return out + ".\n";
}

std::string document() {
  std::string out(introduction);
  for (const ReasonRow& row : reason_table())
    out +=
        fmt::format("| `{}` | {} {} | {} | {} | {} |\n", row.token, row.status, row.phrase,
                    row.proxy_error.empty() ? "" : fmt::format("`{}`", row.proxy_error),
                    row.retry_after == 0 ? "" : fmt::format("{} s", row.retry_after), row.meaning);
  out += records;
  return out + record_fields();
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
