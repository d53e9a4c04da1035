#include "column_runner.hpp"

#include <algorithm>

namespace climlink {

void ColumnRunner::run(const float* x, std::int64_t n_column, float* y) {
  const std::int64_t batch = micro_batch_ > 0 ? micro_batch_ : whole_granules(n_column, granule_);
  for (std::int64_t first = 0; first < n_column; first += batch) {
    const std::int64_t count = std::min(batch, n_column - first);
    const float* rows = x + first * n_input_;
    float* results = y + first * n_output_;
    if (count % granule_ == 0) {
      backend_.forward(rows, count, n_input_, results, n_output_);
    } else {
      run_padded(rows, count, results);
    }
  }
}

void ColumnRunner::run_padded(const float* x, std::int64_t n_column, float* y) {
  const std::int64_t n_row = whole_granules(n_column, granule_);
  padded_x_.resize(static_cast<std::size_t>(n_row * n_input_));
  padded_y_.resize(static_cast<std::size_t>(n_row * n_output_));
  std::copy_n(x, n_column * n_input_, padded_x_.data());
  const float* last = x + (n_column - 1) * n_input_;
  for (std::int64_t row = n_column; row < n_row; ++row)
    std::copy_n(last, n_input_, padded_x_.data() + row * n_input_);
  backend_.forward(padded_x_.data(), n_row, n_input_, padded_y_.data(), n_output_);
  std::copy_n(padded_y_.data(), n_column * n_output_, y);
}

}  // namespace climlink
