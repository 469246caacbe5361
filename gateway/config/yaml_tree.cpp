#include "gateway/config/yaml_tree.hpp"

#include "gateway/base/net_types.hpp"
#include "gateway/config/report.hpp"

#include <algorithm>
#include <exception>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

namespace oceanid::config {
namespace {

Place place_from(const YAML::Mark& mark) {
  if (mark.is_null() || mark.line < 0 || mark.column < 0) return {};
  return {static_cast<unsigned>(mark.line) + 1, static_cast<unsigned>(mark.column) + 1};
}

// At the end of a file yaml-cpp counts what it missed there: `"a\x` has its fault in column 7.
Place kept_inside(Place place, std::string_view text) {
  for (unsigned line = 1; line < place.line; ++line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {line, static_cast<unsigned>(text.size()) + 1};
    text.remove_prefix(end + 1);
  }
  const auto length = std::min(text.find('\n'), text.size());
  return {place.line, std::min(place.column, static_cast<unsigned>(length) + 1)};
}

// yaml-cpp takes the end of the file for the end of a quoted scalar. `from` is its opening quote.
bool is_closed(std::string_view text, std::size_t from) {
  const char quote = text[from];
  for (std::size_t at = from + 1; at < text.size(); ++at) {
    if (quote == '"' && text[at] == '\\')
      ++at;
    else if (text[at] == quote && quote == '\'' && at + 1 < text.size() && text[at + 1] == quote)
      ++at;
    else if (text[at] == quote)
      return true;
  }
  return false;
}

// Ends the parse from inside an event: yaml-cpp recurses with the nesting of the text.
struct TooDeep : std::exception {};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, Report& report) : text_(text), report_(report) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_properties(mark, "?", anchor);
    YamlNode node;
    node.place = place_from(mark);
    add(std::move(node));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    report_.add(place_from(mark), path(),
                "found an alias (*); allowed: plain values without aliases");
    YamlNode node;
    node.place = place_from(mark);
    add(std::move(node));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_properties(mark, tag, anchor);
    const auto at = static_cast<std::size_t>(std::max(mark.pos, 0));
    const bool is_quoted =
        tag == "!" && at < text_.size() && (text_[at] == '"' || text_[at] == '\'');
    if (is_quoted && !is_closed(text_, at))
      report_.add(place_from(mark), path(),
                  "found a quote that never ends; allowed: a closing quote");
    YamlNode node;
    node.kind = YamlNode::Kind::scalar;
    node.place = place_from(mark);
    node.text = value;
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::list);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::map);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    YamlNode node;
    std::string key;  // the key whose value comes next
    Place key_place;
    bool has_key = false;
    std::set<std::string, std::less<>> keys;
  };

  void refuse_properties(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0)
      report_.add(place_from(mark), path(),
                  "found an anchor (&); allowed: plain values without anchors");
    // yaml-cpp calls a quoted scalar "!" too; only the text tells it from the non-specific tag.
    const auto at = static_cast<std::size_t>(std::max(mark.pos, 0));
    const bool bare_tag = tag == "!" && at < text_.size() && text_[at] == '!';
    if ((!tag.empty() && tag != "?" && tag != "!") || bare_tag)
      report_.add(place_from(mark), path(), "found a tag (!); allowed: plain values without tags");
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_properties(mark, tag, anchor);
    if (levels_.size() == max_nesting) {
      report_.add(place_from(mark), path(),
                  fmt::format("found more than {0} levels of nesting; allowed: {0}", max_nesting));
      throw TooDeep();
    }
    Level level;
    level.node.kind = kind;
    level.node.place = place_from(mark);
    levels_.push_back(std::move(level));
  }

  void close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == YamlNode::Kind::list) {
      level.node.children.push_back(std::move(node));
    } else if (!level.has_key) {
      take_key(level, node);
    } else {
      level.has_key = false;
      node.key = std::move(level.key);
      node.key_place = level.key_place;
      if (node.kind == YamlNode::Kind::null) node.place = node.key_place;
      if (level.keys.insert(node.key).second) level.node.children.push_back(std::move(node));
    }
  }

  void take_key(Level& level, const YamlNode& node) {
    if (node.kind != YamlNode::Kind::scalar)
      report_.add(node.place, path(),
                  found_but(kind_of(node) + " as a key", "a plain word as a key"));
    else if (level.keys.contains(node.text))
      report_.add(node.place, join_path(path(), node.text),
                  "found the key a second time; allowed: every key once");
    level.has_key = true;
    level.key = node.text;
    level.key_place = node.place;
  }

  // Of the value that comes next.
  std::string path() const {
    std::string out;
    for (const Level& level : levels_) {
      if (level.node.kind == YamlNode::Kind::list)
        out = item_path(out, level.node.children.size());
      else if (level.has_key)
        out = join_path(out, level.key);
    }
    return out;
  }

  std::string_view text_;
  Report& report_;
  std::vector<Level> levels_;
  YamlNode root_;
};

class DocumentStart final : public YAML::EventHandler {
 public:
  struct Found : std::exception {};
  Place place;

  void OnDocumentStart(const YAML::Mark& mark) override {
    place = place_from(mark);
    throw Found();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// Bytes that make yaml-cpp guess at another encoding, or stop reading in silence.
bool refuse_encoding(std::string_view text, Report& report) {
  std::string_view problem;
  if (text.size() > max_config_bytes)
    problem = "found more than 4 MiB; allowed: a configuration of up to 4 MiB";
  else if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") || text.contains('\0'))
    problem = "found text that is not UTF-8; allowed: UTF-8 without zero bytes";
  else if (text.contains('\x04'))  // yaml-cpp's own end-of-file mark
    problem = "found the control character 0x04; allowed: printable text";
  if (problem.empty()) return false;
  report.add({}, "", std::string(problem));
  return true;
}

void read_documents(std::string_view text, TreeBuilder& builder, Report& report) {
  std::istringstream in{std::string(text)};
  YAML::Parser parser(in);
  if (!parser.HandleNextDocument(builder)) return;
  DocumentStart second;
  try {
    if (!parser.HandleNextDocument(second)) return;
  } catch (const DocumentStart::Found&) {
  }
  report.add(second.place, "", "found a second document; allowed: one document in the file");
}

}  // namespace

const YamlNode* YamlNode::child(std::string_view name) const {
  const auto found = std::ranges::find(children, name, &YamlNode::key);
  return kind == Kind::map && found != children.end() ? &*found : nullptr;
}

YamlNode parse_yaml(std::string_view text, Report& report) {
  if (refuse_encoding(text, report)) return {};
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  TreeBuilder builder(text, report);
  try {
    read_documents(text, builder, report);
  } catch (const TooDeep&) {
  } catch (const YAML::Exception& error) {
    report.add(kept_inside(place_from(error.mark), text), "",
               "not valid YAML: " + printable(error.msg));
  }
  return builder.take();
}

Place place_of(const YamlNode& root, std::string_view path) {
  const YamlNode* node = &root;
  while (!path.empty()) {
    const YamlNode* next = nullptr;
    if (path.front() == '[') {
      const auto close = path.find(']');
      const auto index = parse_decimal(path.substr(1, close - 1), 1'000'000);
      path.remove_prefix(std::min(path.size(), close + 1));
      // A single value stands for a list of one.
      if (node->kind != YamlNode::Kind::list)
        next = node;
      else if (index && *index < node->children.size())
        next = &node->children[*index];
    } else {
      const auto end = path.find_first_of(".[");
      next = node->child(path.substr(0, end));
      path.remove_prefix(std::min(path.size(), end));
    }
    if (path.starts_with('.')) path.remove_prefix(1);
    if (next == nullptr) break;
    node = next;
  }
  return node->place;
}

}  // namespace oceanid::config
