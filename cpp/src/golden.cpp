#include "golden.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.hpp"
#include "host_array.hpp"
#include "progress.hpp"

namespace climlink {
namespace {

double difference(double got, double expected, double scale) {
  const double d = std::fabs(got - expected) / (scale + std::fabs(expected));
  return std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
}

// The largest difference in rows of outputs and where it is.
struct Worst {
  double difference = -1;
  std::int64_t row = 0;
  std::int64_t position = 0;  // in the row
};

Worst worst_of(const Manifest& m, const float* got, const float* expected, std::int64_t n_row) {
  Worst worst;
  for (std::int64_t row = 0; row < n_row; ++row) {
    for (std::size_t i = 0; i < m.outputs.variables.size(); ++i) {
      const Variable& v = m.outputs.variables[i];
      const auto& scale = m.difference_scale[i];
      for (std::int64_t k = 0; k < v.width; ++k) {
        const std::int64_t at = row * m.outputs.width + v.offset + k;
        const double d =
            difference(got[at], expected[at],
                       scale.size() == 1 ? scale[0] : scale[static_cast<std::size_t>(k)]);
        if (d > worst.difference) worst = {d, row, v.offset + k};
      }
    }
  }
  return worst;
}

// "place: got .., expected ..; difference .. is beyond the tolerance .." of rows [n_row,
// outputs.width].
std::string judgement(const Package& package, const float* got, const float* expected,
                      const Worst& worst, double tolerance) {
  const Manifest& m = package.manifest;
  const Variable& v = m.outputs.owner(worst.position);
  const std::int64_t at = worst.row * m.outputs.width + worst.position;
  return text(place(package.words, v, worst.row, worst.position - v.offset), ": got ", got[at],
              ", expected ", expected[at], "; difference ", worst.difference,
              " is beyond the tolerance ", tolerance);
}

constexpr const char* golden_advice =
    ". The graph, this libtorch or this device gives other results than the export: export the "
    "package again, or check the device";

// Hands the carried outputs of a step to the inputs of the next one.
void carry(const Manifest& m, const float* y, float* x, std::int64_t n_row) {
  for (const auto& pair : m.carried) {
    const Variable &from = m.outputs.variables[pair.output], &to = m.inputs.variables[pair.input];
    for (std::int64_t row = 0; row < n_row; ++row) {
      std::copy_n(y + row * m.outputs.width + from.offset, from.width,
                  x + row * m.inputs.width + to.offset);
    }
  }
}

}  // namespace

double replay_golden(const Package& package, ColumnRunner& runner, double tolerance) {
  const Manifest& m = package.manifest;
  std::vector<float> got(package.golden_outputs.size());
  runner.run(package.golden_inputs.data(), m.golden.sample_count, got.data());
  const Worst worst = worst_of(m, got.data(), package.golden_outputs.data(), m.golden.sample_count);
  if (worst.difference > tolerance) {
    fail(CLIMLINK_ERROR_GOLDEN, package.name, ": the golden columns do not come out as recorded: ",
         judgement(package, got.data(), package.golden_outputs.data(), worst, tolerance),
         golden_advice);
  }
  return worst.difference;
}

void replay_chained(const Package& package, ColumnRunner& runner) {
  const Manifest& m = package.manifest;
  if (m.carried.empty()) return;
  const std::int64_t n = m.golden.sequence_count();
  std::vector<float> x(static_cast<std::size_t>(n * m.inputs.width)),
      y(static_cast<std::size_t>(n * m.outputs.width));
  for (std::int64_t step = 0; step < m.golden.step_count; ++step) {
    std::copy_n(package.golden_inputs.data() + step * n * m.inputs.width, x.size(), x.data());
    if (step > 0) carry(m, y.data(), x.data(), n);
    runner.run(x.data(), n, y.data());
    const float* expected = package.golden_outputs.data() + step * n * m.outputs.width;
    const Worst worst = worst_of(m, y.data(), expected, n);
    if (worst.difference <= m.golden.chained_tolerance) continue;
    fail(CLIMLINK_ERROR_GOLDEN, package.name,
         ": the golden sequences, run on their own carried outputs, leave the record at step ",
         package.words.counted_text(step), " of ", m.golden.step_count, ": ",
         judgement(package, y.data(), expected, worst, m.golden.chained_tolerance), golden_advice);
  }
}

std::vector<float> golden_rows(const Package& package, std::int64_t n_row) {
  const Manifest& m = package.manifest;
  std::vector<float> x(static_cast<std::size_t>(n_row * m.inputs.width));
  for (std::int64_t row = 0; row < n_row; ++row) {
    std::copy_n(package.golden_inputs.data() + (row % m.golden.sample_count) * m.inputs.width,
                m.inputs.width, x.data() + row * m.inputs.width);
  }
  return x;
}

void warm_up(const Package& package, Backend& backend, const std::vector<std::int64_t>& sizes,
             bool range_policy) {
  const Manifest& m = package.manifest;
  const std::int64_t largest = *std::max_element(sizes.begin(), sizes.end());
  const std::vector<float> x = golden_rows(package, largest);
  std::vector<float> y(static_cast<std::size_t>(largest * m.outputs.width));
  std::vector<double> use(static_cast<std::size_t>(largest * range_use_width));
  try {
    for (const std::int64_t n_row : sizes) {
      for (int time = 0; time < 2; ++time) {
        progress(package.name, ": forward of ", n_row, " rows, ", time == 0 ? "first" : "second");
        const Rows rows{x.data(), n_row, n_row, m.inputs.width};
        backend.forward(rows, y.data(), m.outputs.width);
        if (range_policy) backend.range_use(rows, use.data());
      }
    }
  } catch (const Error& error) {
    // Nothing but the graph can be wrong before its first rows: golden rows of the manifest's own
    // width went in.
    fail(CLIMLINK_ERROR_GRAPH, package.name,
         ": the graph disagrees with the manifest, which says [n, ", m.inputs.width, "] -> [n, ",
         m.outputs.width, "]: ", error.what(), ". Export the package again");
  }
}

}  // namespace climlink
