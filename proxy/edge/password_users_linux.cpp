#include "proxy/edge/password_users.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <crypt.h>

namespace oceanid::proxy {
namespace {

// A hash nobody can meet, for the time before there are users.
constexpr const char* nobodys_hash = "$2y$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

bool matches(const std::string& password, const std::string& hash) {
  // 32 KiB: not for a thread's stack.
  const auto data = std::make_unique<crypt_data>();
  const char* out =
      ::crypt_rn(password.c_str(), hash.c_str(), data.get(), static_cast<int>(sizeof *data));
  const bool same = out != nullptr && std::strlen(out) == hash.size() &&
                    CRYPTO_memcmp(out, hash.data(), hash.size()) == 0;
  OPENSSL_cleanse(data.get(), sizeof *data);
  return same;
}

}  // namespace

PasswordUsers::PasswordUsers() : costly_(nobodys_hash) {
  // Without randomness nothing is remembered under a key that others could guess.
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) std::abort();
}

PasswordUsers::~PasswordUsers() {
  pool_.join();
}

void PasswordUsers::set(UsersFile file) {
  const std::lock_guard lock(mutex_);
  file_ = std::move(file);
  costly_ = file_.users.empty() ? nobodys_hash : file_.users.begin()->second;
}

std::uint64_t PasswordUsers::hashed() const {
  const std::lock_guard lock(mutex_);
  return hashed_;
}

PasswordUsers::Digest PasswordUsers::digest_of(const std::string& user, const std::string& password,
                                               const std::string& hash) const {
  std::string text = user;
  text += '\0';
  text += password;
  text += '\0';
  text += hash;
  Digest out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), &size);
  OPENSSL_cleanse(text.data(), text.size());
  return out;
}

bool PasswordUsers::remembers(const Digest& digest, Clock::time_point now) {
  const auto found = remembered_.find(digest);
  return found != remembered_.end() && found->second > now;
}

void PasswordUsers::remember(const Digest& digest, Clock::time_point now) {
  if (remembered_.size() >= max_remembered)
    std::erase_if(remembered_, [&](const auto& entry) { return entry.second <= now; });
  if (remembered_.size() >= max_remembered) remembered_.erase(remembered_.begin());
  remembered_.insert_or_assign(digest, now + remembered_for);
}

bool PasswordUsers::is_remembered(const std::string& user, const std::string& password) {
  const std::lock_guard lock(mutex_);
  const auto found = file_.users.find(user);
  return found != file_.users.end() &&
         remembers(digest_of(user, password, found->second), Clock::now());
}

bool PasswordUsers::check(const std::string& password, const std::string& hash,
                          const Digest& digest) {
  {
    // Many connections of one client come at once: the first has done the work for the others.
    const std::lock_guard lock(mutex_);
    if (remembers(digest, Clock::now())) return true;
    ++hashed_;
  }
  const bool right = matches(password, hash);
  const std::lock_guard lock(mutex_);
  if (right) remember(digest, Clock::now());
  return right;
}

awaitable<std::optional<std::string>> PasswordUsers::verify(std::string user,
                                                            std::string password) {
  std::string hash;
  Digest digest{};
  bool exists = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = file_.users.find(user);
    exists = found != file_.users.end();
    hash = exists ? found->second : costly_;
    digest = digest_of(user, password, hash);
    if (exists && remembers(digest, Clock::now())) co_return user;
    if (waiting_ >= max_waiting) co_return std::nullopt;
    ++waiting_;
  }
  auto work = [this, &password, &hash, &digest](auto handler) {
    const auto executor = asio::get_associated_executor(handler);
    asio::post(pool_, [this, &password, &hash, &digest, handler = std::move(handler),
                       guard = asio::make_work_guard(executor)]() mutable {
      const bool right = check(password, hash, digest);
      {
        const std::lock_guard lock(mutex_);
        --waiting_;
      }
      // The guard goes along: its loop may end, and be gone, as soon as the handler has run there.
      const auto executor = guard.get_executor();
      asio::post(executor,
                 [handler = std::move(handler), right, guard = std::move(guard)]() mutable {
                   guard.reset();
                   handler(right);
                 });
    });
  };
  const bool right = co_await asio::async_initiate<decltype(asio::use_awaitable), void(bool)>(
      std::move(work), asio::use_awaitable);
  OPENSSL_cleanse(password.data(), password.size());
  if (!right || !exists) co_return std::nullopt;
  co_return user;
}

}  // namespace oceanid::proxy
