// Is the host's grid the one that the package was made for?
#pragma once

#include <cstdint>
#include <string_view>

#include "manifest.hpp"

namespace climlink {

// Compares the host's coordinate values [n] of a dimension with the manifest's; passes where it has
// none. Throws Error: VARIABLE for an unknown dimension, HOST where n or a value differs.
void check_host_coordinate(const Manifest& manifest, std::string_view dim, const double* values,
                           std::int64_t n, const Wording& words);

}  // namespace climlink
