#include "column_runner.hpp"

#include <algorithm>

namespace climlink {

void ColumnRunner::run(const float* x, std::int64_t n_column, float* y) {
  const std::int64_t batch = micro_batch_ > 0 ? micro_batch_ : std::max(n_column, smallest_batch);
  for (std::int64_t first = 0; first < n_column; first += batch) {
    const std::int64_t count = std::min(batch, n_column - first);
    const float* rows = x + first * n_input_;
    float* results = y + first * n_output_;
    if (count < smallest_batch) {
      run_padded(rows, count, results);
    } else {
      backend_.forward(rows, count, n_input_, results, n_output_);
    }
  }
}

void ColumnRunner::run_padded(const float* x, std::int64_t n_column, float* y) {
  padded_x_.resize(static_cast<std::size_t>(smallest_batch * n_input_));
  padded_y_.resize(static_cast<std::size_t>(smallest_batch * n_output_));
  for (std::int64_t row = 0; row < smallest_batch; ++row) {
    std::copy_n(x + std::min(row, n_column - 1) * n_input_, n_input_, padded_x_.data() + row * n_input_);
  }
  backend_.forward(padded_x_.data(), smallest_batch, n_input_, padded_y_.data(), n_output_);
  std::copy_n(padded_y_.data(), n_column * n_output_, y);
}

}  // namespace climlink
