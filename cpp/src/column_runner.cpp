#include "column_runner.hpp"

#include <algorithm>

namespace climlink {

std::vector<std::int64_t> forward_sizes(std::int64_t n_column, std::int64_t granule,
                                        std::int64_t micro_batch) {
  const std::int64_t batch = micro_batch > 0 ? micro_batch : whole_granules(n_column, granule);
  std::vector<std::int64_t> sizes;
  if (n_column >= batch && batch > 0) sizes.push_back(batch);
  const std::int64_t rest = batch > 0 ? whole_granules(n_column % batch, granule) : 0;
  // A rest that fills up to a whole batch is one more of those.
  if (rest > 0 && (sizes.empty() || rest != batch)) sizes.push_back(rest);
  return sizes;
}

void ColumnRunner::run(const float* x, std::int64_t n_column, float* y) {
  in_batches(x, n_column, y, n_output_, padded_y_,
             [this](const float* rows, std::int64_t n_row, float* results) {
               backend_.forward(rows, n_row, n_input_, results, n_output_);
             });
}

void ColumnRunner::range_use(const float* x, std::int64_t n_column, double* use) {
  in_batches(x, n_column, use, range_use_width, padded_use_,
             [this](const float* rows, std::int64_t n_row, double* results) {
               backend_.range_use(rows, n_row, n_input_, results);
             });
}

template <class Value, class Call>
void ColumnRunner::in_batches(const float* x, std::int64_t n_column, Value* y, std::int64_t width,
                              std::vector<Value>& padded_y, const Call& call) {
  const std::int64_t batch = micro_batch_ > 0 ? micro_batch_ : whole_granules(n_column, granule_);
  for (std::int64_t first = 0; first < n_column; first += batch) {
    const std::int64_t count = std::min(batch, n_column - first);
    const float* rows = x + first * n_input_;
    Value* results = y + first * width;
    const std::int64_t n_row = whole_granules(count, granule_);
    if (count == n_row) {
      call(rows, count, results);
      continue;
    }
    padded_y.resize(static_cast<std::size_t>(n_row * width));
    call(padded(rows, count, n_row), n_row, padded_y.data());
    std::copy_n(padded_y.data(), count * width, results);
  }
}

const float* ColumnRunner::padded(const float* x, std::int64_t n_column, std::int64_t n_row) {
  padded_x_.resize(static_cast<std::size_t>(n_row * n_input_));
  std::copy_n(x, n_column * n_input_, padded_x_.data());
  const float* last = x + (n_column - 1) * n_input_;
  for (std::int64_t row = n_column; row < n_row; ++row)
    std::copy_n(last, n_input_, padded_x_.data() + row * n_input_);
  return padded_x_.data();
}

}  // namespace climlink
