#pragma once
// Runs one coroutine to its end on an io_context, and a folder that lives as long as the test.

#include "gateway/base/runtime/asio.hpp"

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include <boost/asio/co_spawn.hpp>

namespace oceanid::routing {

template <typename T>
T run_task(asio::io_context& io, awaitable<T> task) {
  std::optional<T> out;
  std::exception_ptr thrown;
  asio::co_spawn(io, std::move(task), [&](std::exception_ptr error, T value) {
    thrown = error;
    out.emplace(std::move(value));
    io.stop();
  });
  io.restart();
  io.run();
  if (thrown) std::rethrow_exception(thrown);
  return std::move(*out);
}

struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "oceanid-test-XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string path;
};

}  // namespace oceanid::routing
