#include "gateway/config/schema.hpp"

#include "gateway/config/defaults_text.hpp"
#include "gateway/config/keys_all.hpp"
#include "gateway/config/parse.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::config {
namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

class SchemaWriter {
 public:
  explicit SchemaWriter(std::size_t depth) : depth_(depth) {}

  template <class T, class Type>
  void field(const Key& key, T& value, const Type& type) {
    std::string head = "\"description\":" + json_string(describe_key(key));
    if (!key.required && key.default_text.empty()) {
      const std::string text = default_text(value, type);
      if (!text.empty()) head += ",\"default\":" + text;
    }
    // Every fragment is an object: its members follow ours.
    const std::string rest = fragment(value, type, depth_ + 1);
    properties_.push_back(fmt::format("{}{}: {{{},{}", indent(depth_ + 1), json_string(key.name),
                                      head, rest.substr(1)));
    if (key.required) required_.push_back(json_string(key.name));
  }

  std::string text() const {
    return fmt::format(R"({{"type":"object","additionalProperties":false,{}"properties":{{)"
                       "\n{}\n{}}}}}",
                       required_.empty()
                           ? std::string()
                           : fmt::format(R"("required":[{}],)", fmt::join(required_, ",")),
                       fmt::join(properties_, ",\n"), indent(depth_));
  }

 private:
  static std::string indent(std::size_t depth) { return std::string(2 * depth, ' '); }

  static std::string describe_key(const Key& key) {
    std::string out(key.doc);
    if (!key.default_text.empty()) out += fmt::format(" (default: {})", key.default_text);
    if (key.later) out += " (not available in this version)";
    return out;
  }

  template <class T, class Type>
  static std::string fragment(T&, const Type& type, std::size_t) {
    return type.schema();
  }
  template <class T>
  static std::string fragment(T& value, const Object&, std::size_t depth) {
    SchemaWriter inner(depth);
    describe(inner, value);
    return inner.text();
  }
  template <class T, class Inner>
  static std::string fragment(std::optional<T>& value, const Nullable<Inner>& type,
                              std::size_t depth) {
    T inner = value ? *value : initial<T>();
    return fmt::format(R"({{"anyOf":[{},{{"type":"null"}}]}})", fragment(inner, type.inner, depth));
  }
  template <class T, class Item>
  static std::string fragment(std::vector<T>&, const List<Item>& type, std::size_t depth) {
    T item = initial<T>();
    const std::string one = fragment(item, type.item, depth);
    const std::string list = fmt::format(R"({{"type":"array",{}"items":{}}})",
                                         type.required ? R"("minItems":1,)" : "", one);
    return Scalar<Item> ? fmt::format(R"({{"anyOf":[{},{}]}})", one, list) : list;
  }
  template <class Item>
  static std::string fragment(PrefixList&, const List<Item>& type, std::size_t depth) {
    std::vector<Prefix> list;
    return fragment(list, type, depth);
  }

  std::size_t depth_;
  std::vector<std::string> properties_;
  std::vector<std::string> required_;
};

struct Row {
  std::string path;
  std::string allowed;
  std::string standard;
  std::string doc;
};

class ReferenceWriter {
 public:
  ReferenceWriter(std::vector<Row>& rows, std::string base) : rows_(rows), base_(std::move(base)) {}

  template <class T, class Type>
  void field(const Key& key, T& value, const Type& type) {
    Row row;
    row.path = base_ + std::string(key.name);
    row.allowed = allowed_of(type) + later_choices(type);
    const std::string text = default_text(value, type);
    if (key.required)
      row.standard = "required";
    else if (!key.default_text.empty())
      row.standard = key.default_text;
    else if (!text.empty())
      row.standard = "`" + text + "`";
    row.doc = std::string(key.doc) + (key.later ? " (**not available in this version**)" : "");
    const std::string path = row.path;
    rows_.push_back(std::move(row));
    inside(value, type, path);
  }

 private:
  template <class Type>
  static std::string later_choices(const Type&) {
    return {};
  }
  template <class E>
  static std::string later_choices(const EnumType<E>& type) {
    std::vector<std::string_view> later;
    for (const Choice<E>& choice : type.choices)
      if (choice.later) later.push_back(choice.text);
    return later.empty() ? "" : fmt::format(" (not in this version: {})", fmt::join(later, ", "));
  }

  template <class T, class Type>
  void inside(T&, const Type&, const std::string&) {}
  template <class T>
  void inside(T& value, const Object&, const std::string& path) {
    ReferenceWriter inner(rows_, path + ".");
    describe(inner, value);
  }
  template <class T>
  void inside(std::optional<T>& value, const Nullable<Object>&, const std::string& path) {
    T inner = value ? *value : initial<T>();
    inside(inner, Object{}, path);
  }
  template <class T>
  void inside(std::vector<T>&, const List<Object>&, const std::string& path) {
    T item = initial<T>();
    inside(item, Object{}, path + "[]");
  }

  std::vector<Row>& rows_;
  std::string base_;
};

constexpr std::string_view introduction = R"(# Configuration

Every key of `oceanid.yaml`, generated from the table that the parser itself uses. Complete examples, one for
each role of a node, are in `deploy/examples`; `oceanid check -c FILE` names every error with its line.

* One YAML document of up to 4 MiB, at most 16 levels deep, without anchors, aliases, tags and duplicate keys.
* Unknown keys are errors. Keys of a later version are checked, and then refused at start with a clear word.
* A duration needs its unit: `200ms`, `5s`, `10m`, `1h`, `90d`. A prefix has no host bits set.
* A single value stands for a list of one.
)";

}  // namespace

std::string json_schema() {
  Config standard = default_config({});
  SchemaWriter writer(0);
  describe(writer, standard);
  return R"({"$schema":"https://json-schema.org/draft/2020-12/schema","title":"oceanid.yaml",)" +
         writer.text().substr(1) + "\n";
}

std::string reference_document() {
  Config standard = default_config({});
  std::vector<Row> rows;
  ReferenceWriter writer(rows, "");
  describe(writer, standard);
  std::string out(introduction);
  bool grouped = false;
  for (const Row& row : rows) {
    const bool is_top = row.path.find('.') == std::string::npos;
    const bool has_keys = is_top && (row.allowed.starts_with("a mapping") ||
                                     row.allowed.starts_with("a list of mappings"));
    if (has_keys) {
      out += fmt::format("\n## {}\n\n{}: {}{}.\n\n", row.path, row.doc, row.allowed,
                         row.standard.empty() ? "" : ", default " + row.standard);
      out += "| key | allowed | default | meaning |\n|---|---|---|---|\n";
      grouped = true;
      continue;
    }
    if (!grouped) {
      out += "\n## The node\n\n| key | allowed | default | meaning |\n|---|---|---|---|\n";
      grouped = true;
    }
    out += fmt::format("| `{}` | {} | {} | {} |\n", row.path, row.allowed, row.standard, row.doc);
  }
  return out;
}

}  // namespace oceanid::config
