// Features of a later version, by the `later` marks in the table of keys.
#include "gateway/config/keys_all.hpp"
#include "gateway/config/parse.hpp"

namespace oceanid {
namespace config {
namespace {

constexpr std::string_view later_text = "not available in this version";

class LaterFinder {
 public:
  LaterFinder(std::vector<Problem>& out, std::string path) : out_(out), path_(std::move(path)) {}

  template <class T, class Type>
  void field(const Key& key, T& value, const Type& type) {
    const std::string path = join_path(path_, key.name);
    bool is_later = false;
    if constexpr (requires { value == T{}; }) is_later = key.later && !(value == T{});
    if (is_later)
      add(path, "this key is " + std::string(later_text));
    else
      look(path, value, type);
  }

 private:
  void add(std::string path, std::string message) {
    out_.push_back({0, 0, std::move(path), std::move(message)});
  }

  template <class T, class Type>
  void look(const std::string&, T&, const Type&) {}

  template <class E>
  void look(const std::string& path, E& value, const EnumType<E>& type) {
    for (const Choice<E>& choice : type.choices)
      if (choice.later && choice.value == value)
        add(path, quoted(choice.text) + " is " + std::string(later_text));
  }

  template <class T>
  void look(const std::string& path, T& value, const Object&) {
    LaterFinder inner(out_, path);
    describe(inner, value);
  }

  template <class T>
  void look(const std::string& path, std::optional<T>& value, const Nullable<Object>&) {
    if (value) look(path, *value, Object{});
  }

  template <class T>
  void look(const std::string& path, std::vector<T>& value, const List<Object>&) {
    for (std::size_t i = 0; i < value.size(); ++i)
      look(item_path(path, i), value[i], Object{});
  }

  std::vector<Problem>& out_;
  std::string path_;
};

}  // namespace
}  // namespace config

std::vector<Problem> unavailable(const Config& given) {
  std::vector<Problem> out;
  Config copy = given;  // the table describes values that may be written
  config::LaterFinder finder(out, "");
  config::describe(finder, copy);
  return out;
}

}  // namespace oceanid
