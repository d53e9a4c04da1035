// Replay of the golden columns: does this machine give what the exporting machine recorded?
#pragma once

#include "column_runner.hpp"
#include "package.hpp"

namespace climlink {

// Runs the golden rows, each as recorded, and returns the largest difference |a-b| / (s + |b|), b
// as recorded, s the manifest's difference_scale. Throws Error(GOLDEN) beyond tolerance, naming the
// worst variable, sample and place in it.
double replay_golden(const Package& package, ColumnRunner& runner, double tolerance);

// Runs the golden sequences step by step on their own carried outputs. Throws Error(GOLDEN) where a
// step is off by more than the manifest's chained_tolerance, naming step, sample and variable.
// Without carried variables there is nothing to do.
void replay_chained(const Package& package, ColumnRunner& runner);

// n_row golden rows [n_row, n_input], again from the first where there are fewer.
std::vector<float> golden_rows(const Package& package, std::int64_t n_row);

// First forwards, each of the sizes twice, so that the first time step is not slower than the
// others: the first forward and each new number of rows cost once. Throws Error(GRAPH) if the graph
// does not take or give rows of the manifest's widths.
void warm_up(const Package& package, Backend& backend, const std::vector<std::int64_t>& sizes,
             bool range_policy);

}  // namespace climlink
