// What the C interfaces share: exceptions become a status and a message for the calling thread, and
// the host finds its state again.
#pragma once

#include <exception>
#include <new>

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
  } catch (const Error& error) {
    return remember(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return remember(CLIMLINK_ERROR_INTERNAL,
                    "out of memory; use fewer columns at once, or more memory");
  } catch (const std::exception& error) {
    return remember(CLIMLINK_ERROR_INTERNAL, error.what());
  } catch (...) {
    return remember(CLIMLINK_ERROR_INTERNAL,
                    "an exception of unknown type; this is a defect in climlink");
  }
}

template <class Pointer>
void need(Pointer* pointer, const char* name) {
  if (pointer == nullptr) fail(CLIMLINK_ERROR_ARGUMENT, name, " is a null pointer");
}

}  // namespace climlink
