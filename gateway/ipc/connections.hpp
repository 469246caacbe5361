#pragma once
// JSON forms of the list of live tunnels: the worker's answer to `connections`, and what
// `oceanid connections --json` prints.

#include "gateway/ipc/json_types.hpp"
#include "proxy/core/connection_view.hpp"

namespace oceanid::proxy {

BOOST_DESCRIBE_STRUCT(ConnectionView, (),
                      (id, source, role, method, forward, host, port, address, exit, rule,
                       age_seconds, idle_seconds, bytes_up, bytes_down))
BOOST_DESCRIBE_STRUCT(ConnectionFilter, (), (sources, host, role, exit, forward, limit))
BOOST_DESCRIBE_STRUCT(ConnectionList, (), (open, matching, connections))

}  // namespace oceanid::proxy
