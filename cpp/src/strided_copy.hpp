// Copies between a host's strided arrays (usually sample fastest, float32 or float64) and packed
// float32 rows (last dimension fastest).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace climlink {

struct Axis {
  std::int64_t extent = 1;
  std::int64_t stride = 0;
};

// A strided view [n_column, outer dimensions.., n_level] of host memory, strides in bytes: the
// sample and up to three dimensions, the last of which is called level whatever it is. Scalars have
// n_level 1. Elements need no alignment.
struct HostView {
  std::byte* data = nullptr;
  bool float64 = false;
  std::int64_t n_column = 0;
  std::int64_t n_level = 0;
  std::int64_t column_stride = 0;
  std::int64_t level_stride = 0;
  std::array<Axis, 2> outer{};
};

// rows[c * row_width + i] = float(view[c, i]), i counting the values of a sample in packed order,
// the last dimension fastest. False if any value is not finite as float32; the rows are then
// written all the same.
bool pack(const HostView& view, float* rows, std::int64_t row_width);

// view[c, i] = rows[c * row_width + i].
void unpack(const float* rows, std::int64_t row_width, const HostView& view);

// True if all of n values are finite.
bool all_finite(const float* values, std::int64_t n);

// One element of a view as float64; position counts the values of a sample in packed order.
double element(const HostView& view, std::int64_t column, std::int64_t position);

}  // namespace climlink
