#pragma once
// What must hold between the fields of a whole request head: one Host, one way to tell where the
// content ends.

#include "proxy/core/request_head.hpp"

namespace oceanid::proxy {

HeadError check_fields(const RequestHead& head);  // HeadError::none when all is well

}  // namespace oceanid::proxy
