// The host's options, checked and owned.
#pragma once

#include <string>

#include "climlink/climlink.h"
#include "manifest.hpp"

namespace climlink {

// Throws Error(ARGUMENT) if a value is outside its range.
void check_options(const climlink_options& options);

// Level count and time step the host declares against the manifest; 0 makes no claim. Throws
// Error(HOST).
void check_host_claims(const climlink_options& options, const Manifest& manifest,
                       const std::string& name);

}  // namespace climlink
