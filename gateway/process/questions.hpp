#pragma once
// What the command line asks of the worker through netd: live tunnels and their end.

#include "gateway/base/error.hpp"
#include "gateway/process/proxy_threads.hpp"

#include <string>

#include <boost/json/value.hpp>

namespace oceanid::process {

// `threads` must live until this has ended. Arguments come from netd, which passes on what root
// wrote to the control socket; they are validated here.
awaitable<Result<boost::json::value>> answer_question(ProxyThreads& threads, std::string command,
                                                      boost::json::value arguments);

}  // namespace oceanid::process
