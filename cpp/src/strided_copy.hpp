// Copies between a host's strided arrays (column fastest, float32 or float64) and packed float32 rows (level fastest).
#pragma once

#include <cstddef>
#include <cstdint>

namespace climlink {

// A strided view [n_column, n_level] of host memory, strides in bytes; scalars have n_level 1. Elements need no alignment.
struct HostView {
  std::byte* data = nullptr;
  bool float64 = false;
  std::int64_t n_column = 0;
  std::int64_t n_level = 0;
  std::int64_t column_stride = 0;
  std::int64_t level_stride = 0;
};

// rows[c * row_width + l] = float(view[c, l]). False if any value is not finite as float32; the rows are then written all the same.
bool pack(const HostView& view, float* rows, std::int64_t row_width);

// view[c, l] = rows[c * row_width + l].
void unpack(const float* rows, std::int64_t row_width, const HostView& view);

// True if all of n values are finite.
bool all_finite(const float* values, std::int64_t n);

// One element of a view as float64.
double element(const HostView& view, std::int64_t column, std::int64_t level);

}  // namespace climlink
