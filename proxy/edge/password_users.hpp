#pragma once
// The users of a users' file. Hashing a password takes a millisecond to a second: it happens on
// threads of its own, and a password that was right is remembered for a while (as a keyed hash of
// it, bound to the user's line: another line, another password), so that the proxy's rate does not
// depend on the hash's cost.
//
// Any thread. Destroy only when nobody awaits verify() any more.

#include "proxy/core/htpasswd.hpp"
#include "proxy/edge/authenticator.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include <boost/asio/thread_pool.hpp>

namespace oceanid::proxy {

class PasswordUsers : public Authenticator {
 public:
  static constexpr std::size_t threads = 2;
  static constexpr std::size_t max_waiting = 256;  // beyond: nobody is proven
  static constexpr std::size_t max_remembered = 4096;
  static constexpr std::chrono::minutes remembered_for{5};

  PasswordUsers();
  ~PasswordUsers() override;

  void set(UsersFile file);  // from now on

  awaitable<std::optional<std::string>> verify(std::string user, std::string password) override;
  bool is_remembered(const std::string& user, const std::string& password) override;

  std::uint64_t hashed() const;  // passwords that were hashed so far

 private:
  using Digest = std::array<unsigned char, 32>;
  using Clock = std::chrono::steady_clock;

  Digest digest_of(const std::string& user, const std::string& password,
                   const std::string& hash) const;
  bool remembers(const Digest& digest, Clock::time_point now);
  void remember(const Digest& digest, Clock::time_point now);
  // On one of the pool's threads.
  bool check(const std::string& password, const std::string& hash, const Digest& digest);

  mutable std::mutex mutex_;
  std::array<unsigned char, 32> key_{};
  UsersFile file_;
  std::string costly_;  // hashed for names that do not exist, so that the time does not tell
  std::map<Digest, Clock::time_point> remembered_;
  std::size_t waiting_ = 0;
  std::uint64_t hashed_ = 0;
  asio::thread_pool pool_{threads};
};

}  // namespace oceanid::proxy
