#include "column_runner.hpp"

#include <algorithm>

namespace climlink {

std::int64_t Batching::rows(std::int64_t n_column) const {
  if (micro_batch > 0) return whole_granules(n_column, granule);
  std::int64_t power = granule;
  while (power < n_column) power *= 2;
  const std::int64_t below = power / 4 * 3;  // 1.5 times the power before
  return power >= 4 * granule && below >= n_column ? below : power;
}

std::vector<std::int64_t> Batching::sizes(std::int64_t n_column) const {
  const std::int64_t batch = columns(n_column);
  std::vector<std::int64_t> sizes;
  if (n_column <= 0) return sizes;
  if (n_column >= batch) sizes.push_back(rows(batch));
  const std::int64_t rest = n_column % batch;
  // A rest that fills up to a whole batch is one more of those.
  if (rest > 0 && (sizes.empty() || rows(rest) != sizes.front())) sizes.push_back(rows(rest));
  return sizes;
}

void ColumnRunner::run(const float* x, std::int64_t n_column, float* y) {
  in_batches(x, n_column, y, n_output_, [this](const Rows& rows, float* results) {
    backend_.forward(rows, results, n_output_);
  });
}

void ColumnRunner::range_use(const float* x, std::int64_t n_column, double* use) {
  in_batches(x, n_column, use, range_use_width,
             [this](const Rows& rows, double* results) { backend_.range_use(rows, results); });
}

template <class Value, class Call>
void ColumnRunner::in_batches(const float* x, std::int64_t n_column, Value* y, std::int64_t width,
                              const Call& call) {
  const std::int64_t batch = batching_.columns(n_column);
  for (std::int64_t first = 0; first < n_column; first += batch) {
    const std::int64_t count = std::min(batch, n_column - first);
    call(Rows{x + first * n_input_, count, batching_.rows(count), n_input_}, y + first * width);
  }
}

}  // namespace climlink
