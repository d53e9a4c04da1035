#include "strided_copy.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace climlink {
namespace {

// A tile of 16 columns and 16 levels of float64 is 2 kB: host memory is read along columns and rows
// are written along levels, both in whole cache lines, and the transposition itself happens inside
// the first-level cache.
constexpr std::int64_t tile_size = 16;
using Tile = std::array<std::array<float, tile_size>, tile_size>;  // [level][column]

// Bit pattern of |value| from which on a float32 is Inf or NaN.
constexpr std::uint32_t first_nonfinite = 0x7f800000U;

std::uint32_t magnitude_bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x7fffffffU;
}

template <class T>
T load(const std::byte* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

template <class T>
void store(std::byte* address, T value) {
  std::memcpy(address, &value, sizeof value);
}

// Reads n_level x n_column values along columns; UnitStride lets the compiler vectorize the usual
// case. Returns the largest magnitude.
template <class T, bool UnitStride>
std::uint32_t read_tile(const HostView& v, std::int64_t column, std::int64_t level,
                        std::int64_t n_column, std::int64_t n_level, Tile& tile) {
  const std::int64_t stride = UnitStride ? static_cast<std::int64_t>(sizeof(T)) : v.column_stride;
  std::uint32_t largest = 0;
  for (std::int64_t l = 0; l < n_level; ++l) {
    const std::byte* source = v.data + (level + l) * v.level_stride + column * stride;
    auto& line = tile[static_cast<std::size_t>(l)];
    for (std::int64_t c = 0; c < n_column; ++c) {
      const auto value = static_cast<float>(load<T>(source + c * stride));
      line[static_cast<std::size_t>(c)] = value;
      largest = std::max(largest, magnitude_bits(value));
    }
  }
  return largest;
}

template <class T, bool UnitStride>
bool pack_typed(const HostView& v, float* rows, std::int64_t row_width) {
  Tile tile;
  std::uint32_t largest = 0;
  for (std::int64_t c0 = 0; c0 < v.n_column; c0 += tile_size) {
    const std::int64_t n_column = std::min(tile_size, v.n_column - c0);
    for (std::int64_t l0 = 0; l0 < v.n_level; l0 += tile_size) {
      const std::int64_t n_level = std::min(tile_size, v.n_level - l0);
      largest = std::max(largest, read_tile<T, UnitStride>(v, c0, l0, n_column, n_level, tile));
      for (std::int64_t c = 0; c < n_column; ++c) {
        float* row = rows + (c0 + c) * row_width + l0;
        for (std::int64_t l = 0; l < n_level; ++l)
          row[l] = tile[static_cast<std::size_t>(l)][static_cast<std::size_t>(c)];
      }
    }
  }
  return largest < first_nonfinite;
}

template <class T, bool UnitStride>
void write_tile(const HostView& v, std::int64_t column, std::int64_t level, std::int64_t n_column,
                std::int64_t n_level, const Tile& tile) {
  const std::int64_t stride = UnitStride ? static_cast<std::int64_t>(sizeof(T)) : v.column_stride;
  for (std::int64_t l = 0; l < n_level; ++l) {
    std::byte* target = v.data + (level + l) * v.level_stride + column * stride;
    const auto& line = tile[static_cast<std::size_t>(l)];
    for (std::int64_t c = 0; c < n_column; ++c)
      store(target + c * stride, static_cast<T>(line[static_cast<std::size_t>(c)]));
  }
}

template <class T, bool UnitStride>
void unpack_typed(const float* rows, std::int64_t row_width, const HostView& v) {
  Tile tile;
  for (std::int64_t c0 = 0; c0 < v.n_column; c0 += tile_size) {
    const std::int64_t n_column = std::min(tile_size, v.n_column - c0);
    for (std::int64_t l0 = 0; l0 < v.n_level; l0 += tile_size) {
      const std::int64_t n_level = std::min(tile_size, v.n_level - l0);
      for (std::int64_t c = 0; c < n_column; ++c) {
        const float* row = rows + (c0 + c) * row_width + l0;
        for (std::int64_t l = 0; l < n_level; ++l)
          tile[static_cast<std::size_t>(l)][static_cast<std::size_t>(c)] = row[l];
      }
      write_tile<T, UnitStride>(v, c0, l0, n_column, n_level, tile);
    }
  }
}

template <class T>
bool unit_stride(const HostView& v) {
  return v.column_stride == static_cast<std::int64_t>(sizeof(T));
}

// Calls copy(plane [n_column, n_level], its first position in a row) for every index of the outer
// dimensions.
template <class Copy>
void each_plane(const HostView& v, const Copy& copy) {
  if (v.n_column == 0) return;  // there may be no memory to point into
  HostView plane = v;
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < v.outer[0].extent; ++i) {
    for (std::int64_t j = 0; j < v.outer[1].extent; ++j, first += v.n_level) {
      plane.data = v.data + i * v.outer[0].stride + j * v.outer[1].stride;
      copy(plane, first);
    }
  }
}

}  // namespace

bool pack(const HostView& v, float* rows, std::int64_t row_width) {
  const auto kernel =
      v.float64 ? (unit_stride<double>(v) ? pack_typed<double, true> : pack_typed<double, false>)
                : (unit_stride<float>(v) ? pack_typed<float, true> : pack_typed<float, false>);
  bool finite = true;
  each_plane(v, [&](const HostView& plane, std::int64_t first) {
    finite = kernel(plane, rows + first, row_width) && finite;
  });
  return finite;
}

void unpack(const float* rows, std::int64_t row_width, const HostView& v) {
  const auto kernel =
      v.float64
          ? (unit_stride<double>(v) ? unpack_typed<double, true> : unpack_typed<double, false>)
          : (unit_stride<float>(v) ? unpack_typed<float, true> : unpack_typed<float, false>);
  each_plane(v, [&](const HostView& plane, std::int64_t first) {
    kernel(rows + first, row_width, plane);
  });
}

bool all_finite(const float* values, std::int64_t n) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, magnitude_bits(values[i]));
  return largest < first_nonfinite;
}

double element(const HostView& v, std::int64_t column, std::int64_t position) {
  const std::int64_t level = position % v.n_level, plane = position / v.n_level;
  const std::int64_t i = plane / v.outer[1].extent, j = plane % v.outer[1].extent;
  const std::byte* address = v.data + column * v.column_stride + i * v.outer[0].stride +
                             j * v.outer[1].stride + level * v.level_stride;
  return v.float64 ? load<double>(address) : static_cast<double>(load<float>(address));
}

}  // namespace climlink
