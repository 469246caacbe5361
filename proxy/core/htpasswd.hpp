#pragma once
// The users' file and the Basic scheme, as text. Pure; who compares passwords is the edge.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

// One USER:HASH a line, '#' comments and empty lines between. Hashes: bcrypt ($2y$, $2b$, $2a$),
// SHA-256 and SHA-512 crypt ($5$, $6$). The weak forms of old htpasswd (plain text, {SHA}, $apr1$,
// DES) are problems, as are hashes so slow that they would be a way to stop the gateway.
struct UsersFile {
  std::map<std::string, std::string, std::less<>> users;
  std::vector<std::string> problems;  // "line 3: ...", never with a hash in it
};
UsersFile parse_users(std::string_view text);

struct Credentials {
  std::string user;
  std::string password;
};

// Longer ones would make hashing slow, and no line of a users' file has them.
inline constexpr std::size_t max_user = 128;
inline constexpr std::size_t max_password = 256;

// The value of a Proxy-Authorization field; none: not Basic, or not as RFC 7617 has it.
std::optional<Credentials> parse_basic(std::string_view field);

}  // namespace oceanid::proxy
