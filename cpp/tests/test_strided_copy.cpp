// pack and unpack against element-by-element loops, over random shapes, types and strides.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "strided_copy.hpp"

using climlink::HostView;

namespace {

// Host memory with a strided view in it; the bytes between the elements are guarded.
struct HostMemory {
  std::vector<std::byte> bytes;
  HostView view;
};

std::int64_t pick(std::mt19937& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

// Column or level fastest, with gaps (not only of whole elements) and either direction along both
// axes.
HostMemory random_memory(std::mt19937& random) {
  HostMemory m;
  HostView& v = m.view;
  v.float64 = pick(random, 0, 1) == 1;
  const std::int64_t size = v.float64 ? 8 : 4;
  v.n_column = pick(random, 0, 70);
  v.n_level = pick(random, 1, 65);
  const std::int64_t inner_gap = pick(random, 0, 1) * pick(random, 0, 9);
  const std::int64_t outer_gap = pick(random, 0, 1) * pick(random, 0, 9);
  const bool column_fastest = pick(random, 0, 3) > 0;
  const std::int64_t inner = size + inner_gap;
  const std::int64_t outer =
      inner * std::max<std::int64_t>(column_fastest ? v.n_column : v.n_level, 1) + outer_gap;
  v.column_stride = column_fastest ? inner : outer;
  v.level_stride = column_fastest ? outer : inner;
  m.bytes.assign(static_cast<std::size_t>(v.column_stride * std::max<std::int64_t>(v.n_column, 1) +
                                          v.level_stride * v.n_level),
                 std::byte{0x5a});
  std::int64_t start = 0;
  for (auto [stride, n] :
       {std::pair{&v.column_stride, v.n_column}, std::pair{&v.level_stride, v.n_level}}) {
    if (pick(random, 0, 3) != 0 || n == 0) continue;
    start += *stride * (n - 1);
    *stride = -*stride;
  }
  v.data = m.bytes.data() + start;
  return m;
}

void put(const HostView& v, std::int64_t c, std::int64_t l, double value) {
  std::byte* address = v.data + c * v.column_stride + l * v.level_stride;
  const auto narrow = static_cast<float>(value);
  v.float64 ? std::memcpy(address, &value, 8) : std::memcpy(address, &narrow, 4);
}

}  // namespace

TEST_CASE("pack equals the element-by-element copy for any shape and stride", "[strided]") {
  std::mt19937 random(1);
  std::normal_distribution<double> normal(0, 1e3);
  for (int trial = 0; trial < 400; ++trial) {
    HostMemory m = random_memory(random);
    const HostView& v = m.view;
    const std::int64_t row_width = v.n_level + pick(random, 0, 5);
    const std::int64_t offset = pick(random, 0, row_width - v.n_level);
    for (std::int64_t c = 0; c < v.n_column; ++c) {
      for (std::int64_t l = 0; l < v.n_level; ++l) put(v, c, l, normal(random));
    }
    std::vector<float> rows(static_cast<std::size_t>(v.n_column * row_width + 1), -7.0F);
    std::vector<float> expected = rows;
    for (std::int64_t c = 0; c < v.n_column; ++c) {
      for (std::int64_t l = 0; l < v.n_level; ++l) {
        expected[static_cast<std::size_t>(c * row_width + offset + l)] =
            static_cast<float>(climlink::element(v, c, l));
      }
    }
    CHECK(climlink::pack(v, rows.data() + offset, row_width));
    REQUIRE(rows == expected);
  }
}

TEST_CASE("unpack undoes pack and touches nothing else", "[strided]") {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 1e3F);
  for (int trial = 0; trial < 400; ++trial) {
    HostMemory m = random_memory(random);
    const HostView& v = m.view;
    const std::int64_t row_width = v.n_level + pick(random, 0, 5);
    std::vector<float> rows(static_cast<std::size_t>(v.n_column * row_width + 1));
    for (float& value : rows) value = normal(random);
    HostMemory expected{m.bytes, v};
    expected.view.data = expected.bytes.data() + (v.data - m.bytes.data());
    for (std::int64_t c = 0; c < v.n_column; ++c) {
      for (std::int64_t l = 0; l < v.n_level; ++l)
        put(expected.view, c, l,
            static_cast<double>(rows[static_cast<std::size_t>(c * row_width + l)]));
    }
    climlink::unpack(rows.data(), row_width, v);
    REQUIRE(m.bytes == expected.bytes);
  }
}

TEST_CASE("values that float32 cannot hold are found wherever they are", "[strided]") {
  std::mt19937 random(3);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {std::nan(""), infinity, -infinity, 1e39, -1e39, 3.5e38}) {
    for (int trial = 0; trial < 40; ++trial) {
      std::vector<double> values(33 * 61, 1e30);
      HostView v{reinterpret_cast<std::byte*>(values.data()), true, 33, 61, 8, 8 * 33};
      std::vector<float> rows(values.size());
      REQUIRE(climlink::pack(v, rows.data(), 61));
      put(v, pick(random, 0, 32), pick(random, 0, 60), bad);
      CHECK_FALSE(climlink::pack(v, rows.data(), 61));
      CHECK_FALSE(climlink::all_finite(rows.data(), 33 * 61));
    }
  }
  const float largest = std::numeric_limits<float>::max();
  CHECK(climlink::all_finite(&largest, 1));
  CHECK(climlink::all_finite(nullptr, 0));
}

TEST_CASE("three dimensions of a sample are packed in C order from memory of any axis order",
          "[strided]") {
  std::mt19937 random(4);
  for (int trial = 0; trial < 100; ++trial) {
    const std::array<std::int64_t, 4> extent = {pick(random, 0, 20), pick(random, 1, 5),
                                                pick(random, 1, 5), pick(random, 1, 20)};
    std::array<std::size_t, 4> order = {0, 1, 2,
                                        3};  // from the fastest to the slowest axis in memory
    std::shuffle(order.begin(), order.end(), random);
    std::array<std::int64_t, 4> stride{};
    std::int64_t count = 1;
    for (const std::size_t axis : order)
      stride[axis] = 8 * std::exchange(count, count * std::max<std::int64_t>(extent[axis], 1));
    std::vector<double> memory(static_cast<std::size_t>(count));
    std::iota(memory.begin(), memory.end(), 0.0);
    HostView v{reinterpret_cast<std::byte*>(memory.data()),
               true,
               extent[0],
               extent[3],
               stride[0],
               stride[3]};
    v.outer = {{{extent[1], stride[1]}, {extent[2], stride[2]}}};
    std::vector<float> expected;
    for (std::int64_t c = 0; c < extent[0]; ++c) {
      for (std::int64_t i = 0; i < extent[1]; ++i) {
        for (std::int64_t j = 0; j < extent[2]; ++j) {
          for (std::int64_t k = 0; k < extent[3]; ++k) {
            const std::int64_t bytes =
                c * stride[0] + i * stride[1] + j * stride[2] + k * stride[3];
            expected.push_back(static_cast<float>(memory[static_cast<std::size_t>(bytes / 8)]));
          }
        }
      }
    }
    const std::int64_t width = extent[1] * extent[2] * extent[3];
    std::vector<float> rows(expected.size());
    REQUIRE(climlink::pack(v, rows.data(), width));
    REQUIRE(rows == expected);
    if (!rows.empty())
      REQUIRE(climlink::element(v, extent[0] - 1, width - 1) == static_cast<double>(rows.back()));
    std::vector<double> back(memory.size(), -1.0);
    v.data = reinterpret_cast<std::byte*>(back.data());
    climlink::unpack(rows.data(), width, v);
    if (!rows.empty()) REQUIRE(back == memory);
  }
}
