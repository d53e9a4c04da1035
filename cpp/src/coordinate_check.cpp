#include "coordinate_check.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "error.hpp"
#include "near_names.hpp"

namespace climlink {
namespace {

// How far two statements of one grid may lie apart: float32 and float64 of it agree far better,
// grids half a cell apart differ far more. A single value is compared relatively, having no
// neighbour.
double tolerance_of(const std::vector<double>& values) {
  if (values.size() == 1) return 1e-6 * std::fabs(values[0]);
  double smallest = std::fabs(values[1] - values[0]);
  for (std::size_t i = 2; i < values.size(); ++i)
    smallest = std::min(smallest, std::fabs(values[i] - values[i - 1]));
  return 1e-3 * smallest;
}

[[noreturn]] void fail_unknown(const Manifest& m, std::string_view dim) {
  std::vector<std::string_view> names;
  for (const auto& [name, size] : m.dims) names.emplace_back(name);
  fail(CLIMLINK_ERROR_VARIABLE, "\"", dim, "\" is not a dimension of ", m.name, ", which has ",
       names.size(), ".", near_names(dim, names));
}

}  // namespace

void check_host_coordinate(const Manifest& m, std::string_view dim, const double* values,
                           std::int64_t n, const Wording& words) {
  if (m.dim_size(dim) == 0) fail_unknown(m, dim);
  const auto found = m.coordinates.find(dim);
  if (found == m.coordinates.end()) return;
  const auto& [units, expected] = found->second;
  if (n != static_cast<std::int64_t>(expected.size())) {
    fail(CLIMLINK_ERROR_HOST, dim, ": the host has ", n, " values, the package ", expected.size(),
         ". Use a package for this grid");
  }
  const double tolerance = tolerance_of(expected);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::fabs(values[i] - expected[i]) <= tolerance) continue;
    fail(CLIMLINK_ERROR_HOST, dim, ": at position ",
         words.counted_text(static_cast<std::int64_t>(i)), " the host has ", values[i],
         ", the package ", expected[i], " ", units, "; they may differ by ", tolerance,
         ". Use a package for this grid, or turn the host's axis round where only the order "
         "differs");
  }
}

}  // namespace climlink
