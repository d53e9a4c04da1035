// Checks what a host passes to set and get.
#pragma once

#include "climlink/climlink.h"
#include "manifest.hpp"
#include "strided_copy.hpp"

namespace climlink {

// The array as a view, once its type, rank, extents, strides and column range fit the variable and
// a step of n_column columns. Throws Error: SHAPE, or ARGUMENT for a null pointer.
HostView checked_view(const Wording& words, const climlink_array& array, const Variable& variable,
                      std::int64_t first_column, std::int64_t n_column);

// "state_t: column 17 (0-based), level 3" or "rain: sample 0 (0-based), lat 3, lon 5" for a
// position within the variable; in Fortran's words "state_t: column 18, level 4".
std::string place(const Wording& words, const Variable& variable, std::int64_t sample,
                  std::int64_t position);

// "NaN", "Inf", "-Inf", or the number with the remark that float32 cannot hold it.
std::string shown_nonfinite(double value);

}  // namespace climlink
