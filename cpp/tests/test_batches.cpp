// A column's bits depend on the column alone: not on how many others run with it, in which order,
// at which address, or in which micro-batches. Multilayer perceptron (with a one-output layer),
// convolutions, LSTM.
#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <random>

#include "support.hpp"

using support::Handle;

namespace {

constexpr int64_t n_input = 557, n_output = 368, n_all = 150;

std::vector<float> random_rows() {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> rows(n_all * n_input);
  for (float& value : rows) value = normal(random);
  return rows;
}

std::vector<float> run(climlink_emulator* emulator, const float* x, int64_t n) {
  std::vector<float> y(static_cast<std::size_t>(n * n_output));
  REQUIRE(climlink_run_packed(emulator, x, n, n_input, y.data(), n_output) == CLIMLINK_OK);
  return y;
}

bool same_bits(const float* a, const float* b, int64_t rows) {
  return std::memcmp(a, b, static_cast<std::size_t>(rows * n_output) * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("a column's bits do not depend on the batch around it", "[batches]") {
  const std::string net = GENERATE("mlp.pt", "convolution.pt", "recurrent.pt");
  CAPTURE(net);
  const auto x = random_rows();
  const Handle handle(net);
  const auto expected = run(handle, x.data(), n_all);

  SECTION("any number of columns, from any place") {
    for (int64_t n = 1; n <= 70; ++n) {
      for (const int64_t first : {int64_t{0}, int64_t{1}, int64_t{33}, n_all - n}) {
        CAPTURE(n, first);
        REQUIRE(same_bits(run(handle, x.data() + first * n_input, n).data(),
                          expected.data() + first * n_output, n));
      }
    }
  }
  SECTION("any micro-batch") {
    for (const int micro_batch : {2, 3, 7, 8, 9, 16, 31, 63, 64, 65, 100, 384}) {
      CAPTURE(micro_batch);
      const Handle other(net, {{"micro_batch", std::to_string(micro_batch)}});
      REQUIRE(same_bits(run(other, x.data(), n_all).data(), expected.data(), n_all));
    }
  }
  SECTION("any order") {
    std::vector<int64_t> order(n_all);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    std::vector<float> shuffled(x.size());
    for (int64_t i = 0; i < n_all; ++i)
      std::copy_n(x.data() + order[static_cast<std::size_t>(i)] * n_input, n_input,
                  shuffled.data() + i * n_input);
    const auto y = run(handle, shuffled.data(), n_all);
    for (int64_t i = 0; i < n_all; ++i)
      REQUIRE(same_bits(y.data() + i * n_output,
                        expected.data() + order[static_cast<std::size_t>(i)] * n_output, 1));
  }
  SECTION("any address") {
    std::vector<float> moved(x.size() + 16);
    for (int shift = 0; shift < 16; ++shift) {
      CAPTURE(shift);
      std::copy(x.begin(), x.end(), moved.begin() + shift);
      REQUIRE(same_bits(run(handle, moved.data() + shift, n_all).data(), expected.data(), n_all));
    }
  }
}
