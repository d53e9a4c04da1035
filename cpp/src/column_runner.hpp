// Runs any number of columns through a backend in micro-batches.
#pragma once

#include <cstdint>
#include <vector>

#include "backend.hpp"

namespace climlink {

// Fewest rows of a forward. A single row takes matrix-vector kernels whose bits differ; from 2 rows on a column's bits do not depend on
// the batch size or its place in it (measured on linear, convolution and LSTM networks; cpp/tests/test_batches.cpp).
constexpr std::int64_t smallest_batch = 2;

class ColumnRunner {
 public:
  // micro_batch: rows per forward, or 0 for all at once.
  ColumnRunner(Backend& backend, std::int64_t n_input, std::int64_t n_output, std::int64_t micro_batch)
      : backend_(backend), n_input_(n_input), n_output_(n_output), micro_batch_(micro_batch) {}

  // y [n_column, n_output] = network(x [n_column, n_input]). A last batch of fewer than smallest_batch columns is filled up by
  // repeating its last column; what that gives is discarded.
  void run(const float* x, std::int64_t n_column, float* y);

 private:
  void run_padded(const float* x, std::int64_t n_column, float* y);

  Backend& backend_;
  std::int64_t n_input_, n_output_, micro_batch_;
  std::vector<float> padded_x_, padded_y_;
};

}  // namespace climlink
