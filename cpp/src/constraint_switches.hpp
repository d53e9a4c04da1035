// Constraints that a host switches off for one run.
#pragma once

#include <string>
#include <vector>

#include "manifest.hpp"

namespace climlink {

// The names wanted, in the manifest's order. Throws Error(ARGUMENT) for a name that the manifest
// does not list or that stands twice, and for every name where the graph was imported.
std::vector<std::string> constraints_to_switch_off(const std::vector<std::string>& wanted,
                                                   const Manifest& manifest,
                                                   const std::string& package);

// Whether a rule of the range policy is in the manifest and not among those off (wrappers/
// constraints/ranges.py).
bool has_range_constraint(const Manifest& manifest, const std::vector<std::string>& off);

}  // namespace climlink
