#pragma once
// The configuration's table of keys as documents, so that neither can say what the parser does not
// do: deploy/oceanid.schema.json and deploy/CONFIGURATION.md are committed copies of these two
// texts.

#include <string>

namespace oceanid::config {

// JSON Schema, draft 2020-12: shapes, words and ranges. Cross checks are beyond it; `oceanid check`
// does them.
std::string json_schema();

// Markdown: every key with what it allows, its default and its meaning.
std::string reference_document();

}  // namespace oceanid::config
