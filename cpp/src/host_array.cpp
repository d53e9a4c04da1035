#include "host_array.hpp"

#include <cmath>

#include "error.hpp"

namespace climlink {
namespace {

void check_rank(const climlink_array& array, const Variable& v) {
  const bool profile = v.width > 1;
  // A scalar passed as [column, 1] is unambiguous; everything else must have the rank of the variable.
  const bool fits = array.rank == (profile ? 2 : 1) || (!profile && array.rank == 2 && array.extent[1] == 1);
  if (!fits) {
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": expected an array of rank ", profile ? "2 [column, level]" : "1 [column]", ", got rank ",
         array.rank);
  }
  if (profile && array.extent[1] != v.width) {
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": expected ", v.width, " levels in extent[1], got ", array.extent[1]);
  }
}

void check_columns(const climlink_array& array, const Variable& v, std::int64_t first_column, std::int64_t n_column) {
  const std::int64_t count = array.extent[0];
  if (count < 0) fail(CLIMLINK_ERROR_SHAPE, v.name, ": extent[0] is ", count, "; expected a number of columns, 0 or more");
  if (first_column < 0 || first_column > n_column || count > n_column - first_column) {
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": ", count, " columns from column ", first_column, " (0-based) do not lie within the ", n_column,
         " columns given to climlink_begin");
  }
}

// Stride 0 would read one value for many columns (a silent broadcast) or write many columns into one place.
void check_stride(const Variable& v, const char* axis, std::int64_t extent, std::int64_t stride) {
  if (extent > 1 && stride == 0)
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": the stride from one ", axis, " to the next is 0; expected bytes between them");
}

}  // namespace

HostView checked_view(const climlink_array& array, const Variable& v, std::int64_t first_column, std::int64_t n_column) {
  if (array.type != CLIMLINK_FLOAT32 && array.type != CLIMLINK_FLOAT64) {
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": expected type CLIMLINK_FLOAT32 (1) or CLIMLINK_FLOAT64 (2), got ", static_cast<int>(array.type));
  }
  check_rank(array, v);
  check_columns(array, v, first_column, n_column);
  const bool profile = array.rank == 2;
  if (array.extent[0] > 0) {  // without columns neither strides nor the address mean anything
    check_stride(v, "column", array.extent[0], array.stride[0]);
    if (profile) check_stride(v, "level", array.extent[1], array.stride[1]);
  }
  if (array.data == nullptr && array.extent[0] > 0) {
    fail(CLIMLINK_ERROR_ARGUMENT, v.name, ": data is a null pointer; expected ", array.extent[0], " columns");
  }
  return {static_cast<std::byte*>(array.data), array.type == CLIMLINK_FLOAT64, array.extent[0], v.width, array.stride[0],
          profile ? array.stride[1] : 0};
}

std::string place(const Variable& v, std::int64_t column, std::int64_t level) {
  const std::string where = text(v.name, ": column ", column, " (0-based)");
  return v.width > 1 ? text(where, ", level ", level) : where;
}

std::string shown_nonfinite(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Inf" : "-Inf";
  return text(value, ", which float32 cannot hold,");
}

}  // namespace climlink
