// What the C interfaces share: exceptions become a status and a message for the calling thread, and
// the host finds its state again.
#pragma once

#include "climlink/climlink.h"
#include "error.hpp"
#include "host_state.hpp"

namespace climlink {

// Keeps the message for climlink_last_message() of this thread and returns the status.
climlink_status remember(climlink_status status, const char* message) noexcept;

// Runs a call inside the host's saved state and turns whatever it throws into a status and this
// thread's message.
template <class Call>
climlink_status guarded(const Call& call) noexcept {
  const HostState host;
  try {
    call();
    return CLIMLINK_OK;
  } catch (...) {
    return explained(remember);
  }
}

template <class Pointer>
void need(Pointer* pointer, const char* name) {
  if (pointer == nullptr) fail(CLIMLINK_ERROR_ARGUMENT, name, " is a null pointer");
}

}  // namespace climlink
