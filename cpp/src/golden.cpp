#include "golden.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.hpp"
#include "host_array.hpp"

namespace climlink {
namespace {

double difference(double got, double expected, double scale) {
  const double d = std::fabs(got - expected) / (scale + std::fabs(expected));
  return std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
}

}  // namespace

double replay_golden(const Package& package, ColumnRunner& runner, double tolerance) {
  const Manifest& m = package.manifest;
  const auto width = static_cast<std::size_t>(m.outputs.width);
  std::vector<float> got(package.golden_outputs.size());
  runner.run(package.golden_inputs.data(), m.golden_count, got.data());
  double largest = -1;
  std::size_t worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double d = difference(got[i], package.golden_outputs[i], m.difference_scale[i % width]);
    if (d > largest) {
      largest = d;
      worst = i;
    }
  }
  if (largest > tolerance) {
    const auto position = static_cast<std::int64_t>(worst % width);
    const Variable& v = m.outputs.owner(position);
    fail(CLIMLINK_ERROR_GOLDEN, package.name,
         ": the golden columns do not come out as recorded: ", place(v, static_cast<std::int64_t>(worst / width), position - v.offset),
         ": got ", got[worst], ", expected ", package.golden_outputs[worst], "; difference ", largest, " is beyond the tolerance ",
         tolerance,
         ". The graph, this libtorch or this device gives other results than the export: export the package again, or check the device");
  }
  return largest;
}

void warm_up(const Package& package, Backend& backend, std::int64_t micro_batch) {
  const Manifest& m = package.manifest;
  std::vector<float> x(static_cast<std::size_t>(micro_batch * m.inputs.width));
  std::vector<float> y(static_cast<std::size_t>(micro_batch * m.outputs.width));
  for (std::int64_t row = 0; row < micro_batch; ++row) {
    std::copy_n(package.golden_inputs.data() + (row % m.golden_count) * m.inputs.width, m.inputs.width, x.data() + row * m.inputs.width);
  }
  try {
    for (const std::int64_t n_row : {micro_batch, micro_batch, row_granule}) {
      backend.forward(x.data(), n_row, m.inputs.width, y.data(), m.outputs.width);
    }
  } catch (const Error& error) {
    // Nothing but the graph can be wrong before its first rows: golden columns of the manifest's own width went in.
    fail(CLIMLINK_ERROR_GRAPH, package.name, ": the graph disagrees with the manifest, which says [n, ", m.inputs.width, "] -> [n, ",
         m.outputs.width, "]: ", error.what(), ". Export the package again");
  }
}

}  // namespace climlink
