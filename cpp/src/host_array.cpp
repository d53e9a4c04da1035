#include "host_array.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace climlink {
namespace {

// Columns are samples along whose variables only the level runs.
const char* sample_word(const Variable& v) {
  return std::all_of(v.dims.begin(), v.dims.end(), [](const auto& dim) { return dim == "level"; })
             ? "column"
             : "sample";
}

// "[column, level]", "[sample, lat, lon]"
std::string axes_text(const Variable& v) {
  std::string axes = sample_word(v);
  for (const auto& dim : v.dims) axes += ", " + dim;
  return "[" + axes + "]";
}

// "extent[1]", or "dimension 2" of a Fortran array.
std::string axis_text(const Wording& words, std::int32_t axis) {
  return words.fortran() ? text("dimension ", axis + 1) : text("extent[", axis, "]");
}

// What to do where the sizes are right, but the sample comes last; "" elsewhere. The dimensions
// before it may stand in the package's order or turned round.
std::string sample_last_hint(const Wording& words, const climlink_array& array, const Variable& v,
                             std::int64_t n_column) {
  const std::size_t n_dim = v.dims.size();
  const std::int64_t count = array.extent[n_dim];
  const bool in_order = std::equal(v.sizes.begin(), v.sizes.end(), array.extent);
  if (!in_order && !std::equal(v.sizes.rbegin(), v.sizes.rend(), array.extent)) return "";
  if (count > n_column) return "";
  std::string axes;
  for (std::size_t d = 0; d < n_dim; ++d) axes += v.dims[in_order ? d : n_dim - 1 - d] + ", ";
  const std::string seems = text(". The array seems to be [", axes, sample_word(v), "]; pass ");
  if (!words.fortran())
    return seems + "its extents and strides in the package's order, the sample first";
  return seems + (n_dim == 1 ? "transpose(values)" : "it with the sample first") +
         " or declare it so in the table";
}

void check_rank(const climlink_array& array, const Variable& v) {
  const auto rank = static_cast<std::int32_t>(1 + v.dims.size());
  // A scalar passed as [column, 1] is unambiguous; everything else must have the rank of the
  // variable.
  if (array.rank == rank || (rank == 1 && array.rank == 2 && array.extent[1] == 1)) return;
  fail(CLIMLINK_ERROR_SHAPE, v.name, ": expected an array of rank ", rank, " ", axes_text(v),
       ", got rank ", array.rank);
}

void check_extents(const Wording& words, const climlink_array& array, const Variable& v,
                   std::int64_t n_column) {
  if (std::equal(v.sizes.begin(), v.sizes.end(), array.extent + 1)) return;
  const std::string hint = sample_last_hint(words, array, v, n_column);
  if (v.dims.size() == 1) {
    const std::string what = v.dims[0] == "level" ? "levels" : "values of " + v.dims[0];
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": expected ", v.sizes[0], " ", what, " in ",
         axis_text(words, 1), ", got ", array.extent[1], hint);
  }
  std::string expected, got;
  for (std::size_t d = 0; d < v.sizes.size(); ++d) {
    expected += text(", ", v.dims[d], " ", v.sizes[d]);
    got += text(", ", array.extent[1 + d]);
  }
  fail(CLIMLINK_ERROR_SHAPE, v.name, ": expected [sample", expected, "], got extents [",
       array.extent[0], got, "]; the package's order is ", axes_text(v),
       " by index, whatever the order in memory", hint);
}

void check_columns(const Wording& words, const climlink_array& array, const Variable& v,
                   std::int64_t first_column, std::int64_t n_column) {
  const std::int64_t count = array.extent[0];
  if (count < 0)
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": ", axis_text(words, 0), " is ", count,
         "; expected a number of columns, 0 or more");
  if (first_column < 0 || first_column > n_column || count > n_column - first_column) {
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": ", count, " columns from column ",
         words.counted_text(first_column), " do not lie within the ", n_column,
         " columns given to ", words.call("begin"), words.fortran() ? ", which count from 1" : "");
  }
}

// Stride 0 would read one value for many samples (a silent broadcast) or write many samples into
// one place.
void check_strides(const climlink_array& array, const Variable& v) {
  for (std::int32_t axis = 0; axis < array.rank; ++axis) {
    if (array.extent[axis] <= 1 || array.stride[axis] != 0) continue;
    const std::string name =
        axis == 0 ? sample_word(v) : v.dims[static_cast<std::size_t>(axis - 1)];
    fail(CLIMLINK_ERROR_SHAPE, v.name, ": the stride from one ", name,
         " to the next is 0; expected bytes between them");
  }
}

}  // namespace

HostView checked_view(const Wording& words, const climlink_array& array, const Variable& v,
                      std::int64_t first_column, std::int64_t n_column) {
  if (array.type != CLIMLINK_FLOAT32 && array.type != CLIMLINK_FLOAT64) {
    fail(CLIMLINK_ERROR_SHAPE, v.name,
         ": expected type CLIMLINK_FLOAT32 (1) or CLIMLINK_FLOAT64 (2), got ",
         static_cast<int>(array.type));
  }
  check_rank(array, v);
  check_extents(words, array, v, n_column);
  check_columns(words, array, v, first_column, n_column);
  if (array.extent[0] > 0)
    check_strides(array, v);  // without samples neither strides nor the address mean anything
  if (array.data == nullptr && array.extent[0] > 0) {
    fail(CLIMLINK_ERROR_ARGUMENT, v.name,
         words.fortran() ? ": the values have no address" : ": data is a null pointer",
         "; expected ", array.extent[0], " columns");
  }
  HostView view{static_cast<std::byte*>(array.data),
                array.type == CLIMLINK_FLOAT64,
                array.extent[0],
                1,
                array.stride[0],
                0};
  const std::size_t n_dim = v.sizes.size();
  if (n_dim == 0) return view;
  view.n_level = v.sizes[n_dim - 1];
  view.level_stride = array.stride[n_dim];
  for (std::size_t d = 0; d + 1 < n_dim; ++d)
    view.outer[view.outer.size() + 1 - n_dim + d] = {v.sizes[d], array.stride[d + 1]};
  return view;
}

std::string place(const Wording& words, const Variable& v, std::int64_t sample,
                  std::int64_t position) {
  const std::string where = text(v.name, ": ", sample_word(v), " ", words.counted_text(sample));
  return v.dims.empty() ? where : text(where, ", ", v.position_text(position, words));
}

std::string shown_nonfinite(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Inf" : "-Inf";
  return text(value, ", which float32 cannot hold,");
}

}  // namespace climlink
