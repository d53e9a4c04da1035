// The part of the manifest that says what a row is: dimensions, variables, their roles and what is
// carried.
#pragma once

#include "json_record.hpp"
#include "manifest.hpp"

namespace climlink {

// Reads dims, coordinates, hybrid, inputs, outputs and carried into the manifest. Throws
// JsonProblem.
void read_rows(JsonRecord& root, Manifest& manifest);

}  // namespace climlink
