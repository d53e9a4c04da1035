// Runs any number of samples through a backend in micro-batches.
#pragma once

#include <cstdint>
#include <vector>

#include "backend.hpp"

namespace climlink {

// The smallest multiple of a package's batch granule that is not below n_row. Every forward gets a
// multiple of it, so that a sample's bits do not depend on how many samples a rank has, on their
// chunks or on their order. Packages of columns have 16. Measured on an AMD CPU: linear layers
// (MKL) round 1 to 3 rows unlike 4 and more, and where a layer has one output the last (rows modulo
// 4) rows unlike the others; the convolutions of the U-Nets (oneDNN) round fewer than 16 rows
// unlike 16 and more, where every multiple of 4 up to 64 was bitwise equal. Tested in
// cpp/tests/test_batches.cpp and tests/test_runtime.py.
constexpr std::int64_t whole_granules(std::int64_t n_row, std::int64_t granule) {
  return (n_row + granule - 1) / granule * granule;
}

// Rows of the forwards that ColumnRunner makes of n_column columns, each number once, the most
// frequent first.
std::vector<std::int64_t> forward_sizes(std::int64_t n_column, std::int64_t granule,
                                        std::int64_t micro_batch);

class ColumnRunner {
 public:
  // micro_batch: rows per forward, a multiple of granule, or 0 for all at once.
  ColumnRunner(Backend& backend, std::int64_t n_input, std::int64_t n_output, std::int64_t granule,
               std::int64_t micro_batch)
      : backend_(backend),
        n_input_(n_input),
        n_output_(n_output),
        granule_(granule),
        micro_batch_(micro_batch) {}

  // y [n_column, n_output] = network(x [n_column, n_input]). A ragged last batch is filled up by
  // repeating its last row; what the repetitions give is discarded.
  void run(const float* x, std::int64_t n_column, float* y);
  // use [n_column, range_use_width] of the same rows, in the same batches.
  void range_use(const float* x, std::int64_t n_column, double* use);

 private:
  template <class Value, class Call>
  void in_batches(const float* x, std::int64_t n_column, Value* y, std::int64_t width,
                  std::vector<Value>& padded_y, const Call& call);
  // x [n_column, n_input] and its last row again, [n_row, n_input].
  const float* padded(const float* x, std::int64_t n_column, std::int64_t n_row);

  Backend& backend_;
  std::int64_t n_input_, n_output_, granule_, micro_batch_;
  std::vector<float> padded_x_, padded_y_;
  std::vector<double> padded_use_;
};

}  // namespace climlink
