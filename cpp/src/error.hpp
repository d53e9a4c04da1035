// The one exception type of the runtime: a status for the caller and a message for the reader.
#pragma once

#include <limits>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

#include "climlink/climlink.h"

namespace climlink {

// Thrown inside the library only; c_api.cpp turns it into its status and message.
class Error : public std::runtime_error {
 public:
  Error(climlink_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  climlink_status status() const noexcept { return status_; }

 private:
  climlink_status status_;
};

// Joins the parts into one text; floating-point numbers keep 9 digits, enough to tell two float32
// values apart.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  stream.precision(std::numeric_limits<float>::max_digits10);
  (stream << ... << parts);
  return stream.str();
}

template <class... Parts>
[[noreturn]] void fail(climlink_status status, const Parts&... parts) {
  throw Error(status, text(parts...));
}

// What the exception that is being handled means to a caller: use(status, message). In catch
// blocks.
template <class Use>
auto explained(const Use& use) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return use(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return use(CLIMLINK_ERROR_INTERNAL, "out of memory; use fewer columns at once, or more memory");
  } catch (const std::exception& error) {
    return use(CLIMLINK_ERROR_INTERNAL, error.what());
  } catch (...) {
    return use(CLIMLINK_ERROR_INTERNAL,
               "an exception of unknown type; this is a defect in climlink");
  }
}

}  // namespace climlink
