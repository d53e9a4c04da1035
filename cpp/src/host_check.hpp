// Does a package fit a host: names, units and dims, before the first step.
#pragma once

#include <span>

#include "climlink/climlink.h"
#include "manifest.hpp"

namespace climlink {

// Holds the host's variables against the manifest. Throws Error: VARIABLE where a name is missing
// or stands twice, else HOST; one message says all that does not fit.
void check_host_variables(const Manifest& manifest,
                          std::span<const climlink_host_variable> variables);

}  // namespace climlink
