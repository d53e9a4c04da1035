// Constraints that a host switches off for one run.
#pragma once

#include <string>
#include <vector>

#include "manifest.hpp"

namespace climlink {

// The names in a list separated by commas, in the manifest's order; none for a null pointer or a
// blank text. Throws Error(ARGUMENT) for a name that the manifest does not list or that stands
// twice, and for every name where the graph was imported.
std::vector<std::string> constraints_to_switch_off(const char* list, const Manifest& manifest,
                                                   const std::string& package);

}  // namespace climlink
