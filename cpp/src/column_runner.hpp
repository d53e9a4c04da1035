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

// How columns are divided into forwards.
struct Batching {
  std::int64_t granule = 1;
  std::int64_t micro_batch = 0;  // columns per forward, a multiple of granule; 0: all at once

  // Columns of the largest forward that n_column columns make.
  std::int64_t columns(std::int64_t n_column) const {
    return micro_batch > 0 ? micro_batch : n_column;
  }
  // Rows that run for n_column columns in one forward: whole granules; where all run at once, 1, 2,
  // 3, 4, 6, 8, 12, ... of them (powers of two and their 1.5-fold), so that a device sees few
  // different sizes, of which each costs once (choice of kernels, memory, a recorded graph).
  std::int64_t rows(std::int64_t n_column) const;
  // Rows of the forwards that n_column columns make, each number once, the most frequent first.
  std::vector<std::int64_t> sizes(std::int64_t n_column) const;
};

class ColumnRunner {
 public:
  ColumnRunner(Backend& backend, std::int64_t n_input, std::int64_t n_output,
               const Batching& batching)
      : backend_(backend), n_input_(n_input), n_output_(n_output), batching_(batching) {}

  // y [n_column, n_output] = network(x [n_column, n_input]). A forward of fewer columns than rows
  // is filled up by repeating its last column; what the repetitions give is discarded.
  void run(const float* x, std::int64_t n_column, float* y);
  // use [n_column, range_use_width] of the same rows, in the same batches.
  void range_use(const float* x, std::int64_t n_column, double* use);

 private:
  template <class Value, class Call>
  void in_batches(const float* x, std::int64_t n_column, Value* y, std::int64_t width,
                  const Call& call);

  Backend& backend_;
  std::int64_t n_input_, n_output_;
  Batching batching_;
};

}  // namespace climlink
