#pragma once
// A reconciler over a kernel that remembers.

#include "routing/edge/reconciler.hpp"
#include "tests/fakes/fake_kernel.hpp"
#include "tests/fakes/run_task.hpp"

#include <memory>
#include <utility>

#include <gtest/gtest.h>

namespace oceanid::routing {

class ReconcilerTest : public testing::Test {
 protected:
  ReconcilerTest() {
    for (const char* name : {"oc-one", "oc-two"})
      kernel_.add_link(name, /*up=*/false);
    kernel_.sysctls = {{"net/ipv4/conf/all/src_valid_mark", "0"},
                       {"net/ipv4/conf/oc-one/rp_filter", "0"}};
  }
  Result<ApplyReport> apply(NetworkState state) {
    return run_task(io_, reconciler_->apply(std::move(state)));
  }
  Result<DownReport> down() { return run_task(io_, reconciler_->down()); }
  Result<std::string> plan(NetworkState state) {
    return run_task(io_, reconciler_->plan(std::move(state)));
  }
  void restart() {
    reconciler_ = std::make_unique<Reconciler>(io_.get_executor(), kernel_, directory_.path);
  }

  asio::io_context io_;
  TemporaryDirectory directory_;
  FakeKernel kernel_;
  std::unique_ptr<Reconciler> reconciler_ =
      std::make_unique<Reconciler>(io_.get_executor(), kernel_, directory_.path);
};

}  // namespace oceanid::routing
