// Samples that are no columns: fields of several dimensions, one forward each, coordinates, and
// other batch granules.
#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>

#include "support.hpp"

using Catch::Matchers::Contains;
using support::Handle;

namespace {

constexpr int64_t n_sample = 3;

// [sample, dims...] by index; the axes lie in memory as a Fortran host (sample fastest) or a C host
// (last fastest) has them.
struct Box {
  Box(std::vector<int64_t> shape, bool sample_fastest)
      : extent(std::move(shape)), stride(extent.size()) {
    int64_t count = 1;
    for (std::size_t i = 0; i < extent.size(); ++i) {
      const std::size_t axis = sample_fastest ? i : extent.size() - 1 - i;
      stride[axis] = std::exchange(count, count * extent[axis]);
    }
    values.assign(static_cast<std::size_t>(count), 0.0);
  }

  double& operator()(const std::vector<int64_t>& index) {
    int64_t at = 0;
    for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * stride[axis];
    return values[static_cast<std::size_t>(at)];
  }

  climlink_array view() {
    climlink_array array{};
    array.data = values.data();
    array.type = CLIMLINK_FLOAT64;
    array.rank = static_cast<int32_t>(extent.size());
    for (std::size_t axis = 0; axis < extent.size(); ++axis) {
      array.extent[axis] = extent[axis];
      array.stride[axis] = stride[axis] * static_cast<int64_t>(sizeof(double));
    }
    return array;
  }

  std::vector<int64_t> extent, stride;
  std::vector<double> values;
};

// A multiple of 1/8 below 2 that differs from place to place.
double some(int64_t a, int64_t b, int64_t c, int64_t d) {
  return static_cast<double>((7 * a + 5 * b + 3 * c + d) % 16) / 8;
}

climlink_status set(climlink_emulator* emulator, const char* name, Box& box) {
  const climlink_array view = box.view();
  return climlink_set(emulator, name, &view, 0);
}

climlink_status get(climlink_emulator* emulator, const char* name, Box& box) {
  const climlink_array view = box.view();
  return climlink_get(emulator, name, &view, 0);
}

struct FieldInputs {
  explicit FieldInputs(bool sample_fastest)
      : sst({n_sample, 3, 4}, sample_fastest),
        soil({n_sample, 3, 4, 2}, sample_fastest),
        season({n_sample}, sample_fastest) {
    for (int64_t n = 0; n < n_sample; ++n) {
      season({n}) = some(n, 1, 2, 3);
      for (int64_t i = 0; i < 3; ++i) {
        for (int64_t j = 0; j < 4; ++j) {
          sst({n, i, j}) = some(n, i, j, 0);
          for (int64_t k = 0; k < 2; ++k) soil({n, i, j, k}) = some(n, i, j, k + 1);
        }
      }
    }
  }
  Box sst, soil, season;
};

std::string dims_text(climlink_emulator* emulator, climlink_role role, int32_t index) {
  int32_t n_dim = -1;
  const char* const* names = nullptr;
  const int64_t* sizes = nullptr;
  REQUIRE(climlink_variable_dims(emulator, role, index, &n_dim, &names, &sizes) == CLIMLINK_OK);
  std::string text;
  for (int32_t d = 0; d < n_dim; ++d)
    text += std::string(names[d]) + " " + std::to_string(sizes[d]) + " ";
  return text;
}

}  // namespace

// The formulae are those of Fields in fixture_networks.py; with multiples of 1/8 they are exact in
// float32.
TEST_CASE("fields go in and out by index, whatever the axis order in memory", "[fields]") {
  const bool sample_fastest = GENERATE(true, false);
  CAPTURE(sample_fastest);
  const Handle handle("field.pt");
  FieldInputs in(sample_fastest);
  REQUIRE(climlink_begin(handle, n_sample) == CLIMLINK_OK);
  REQUIRE(set(handle, "sst", in.sst) == CLIMLINK_OK);
  REQUIRE(set(handle, "soil", in.soil) == CLIMLINK_OK);
  REQUIRE(set(handle, "season", in.season) == CLIMLINK_OK);
  REQUIRE(climlink_run(handle) ==
          CLIMLINK_OK);  // the graph raises for more than one field at a time
  Box rain({n_sample, 6, 8}, sample_fastest), moisture({n_sample, 2, 3, 4}, sample_fastest);
  REQUIRE(get(handle, "rain", rain) == CLIMLINK_OK);
  REQUIRE(get(handle, "moisture", moisture) == CLIMLINK_OK);
  for (int64_t n = 0; n < n_sample; ++n) {
    for (int64_t i = 0; i < 6; ++i) {
      for (int64_t j = 0; j < 8; ++j)
        REQUIRE(rain({n, i, j}) ==
                some(n, i / 2, j / 2, 0) * (1 + static_cast<double>(8 * i + j) / 64) +
                    some(n, 1, 2, 3));
    }
    for (int64_t k = 0; k < 2; ++k) {
      for (int64_t i = 0; i < 3; ++i) {
        for (int64_t j = 0; j < 4; ++j)
          REQUIRE(moisture({n, k, i, j}) ==
                  some(n, i, j, k + 1) * (1 + static_cast<double>(12 * k + 4 * i + j) / 32));
      }
    }
  }
}

TEST_CASE("a field is set in parts, from negative strides too", "[fields]") {
  const Handle handle("field.pt");
  FieldInputs in(false);
  std::vector<float> rows(n_sample * 37), expected(n_sample * 72);
  for (int64_t n = 0; n < n_sample; ++n) {
    std::copy_n(in.sst.values.data() + n * 12, 12, rows.data() + n * 37);
    std::copy_n(in.soil.values.data() + n * 24, 24, rows.data() + n * 37 + 12);
    rows[static_cast<std::size_t>(n * 37 + 36)] = static_cast<float>(in.season({n}));
  }
  REQUIRE(climlink_run_packed(handle, rows.data(), n_sample, 37, expected.data(), 72) ==
          CLIMLINK_OK);
  REQUIRE(climlink_begin(handle, n_sample) == CLIMLINK_OK);
  // The same field stored from south to north and passed from its other end.
  Box turned({n_sample, 3, 4}, false);
  for (int64_t n = 0; n < n_sample; ++n) {
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 4; ++j) turned({n, 2 - i, j}) = in.sst({n, i, j});
    }
  }
  climlink_array view = turned.view();
  view.data = turned.values.data() + 2 * turned.stride[1];
  view.stride[1] = -view.stride[1];
  REQUIRE(climlink_set(handle, "sst", &view, 0) == CLIMLINK_OK);
  view = in.soil.view();
  view.extent[0] = 1;
  for (int64_t n = n_sample; n-- > 0;) {
    view.data = in.soil.values.data() + n * 24;
    REQUIRE(climlink_set(handle, "soil", &view, n) == CLIMLINK_OK);
  }
  REQUIRE(set(handle, "season", in.season) == CLIMLINK_OK);
  REQUIRE(climlink_run(handle) == CLIMLINK_OK);
  Box rain({n_sample, 6, 8}, false);
  REQUIRE(get(handle, "rain", rain) == CLIMLINK_OK);
  for (int64_t n = 0; n < n_sample; ++n) {
    for (int64_t k = 0; k < 48; ++k)
      REQUIRE(rain.values[static_cast<std::size_t>(n * 48 + k)] ==
              expected[static_cast<std::size_t>(n * 72 + k)]);
  }
}

TEST_CASE("a transposed field is refused by its extents, with the package's order", "[fields]") {
  const Handle handle("field.pt");
  REQUIRE(climlink_begin(handle, n_sample) == CLIMLINK_OK);
  const auto refuses = [&](const char* name, std::vector<int64_t> shape, const char* words) {
    Box box(std::move(shape), true);
    CHECK(set(handle, name, box) == CLIMLINK_ERROR_SHAPE);
    CHECK_THAT(climlink_last_message(), Contains(words));
  };
  refuses("sst", {n_sample, 4, 3},
          "sst: expected [sample, lat 3, lon 4], got extents [3, 4, 3]; the package's order is "
          "[sample, lat, lon]");
  refuses("soil", {n_sample, 2, 3, 4},
          "got extents [3, 2, 3, 4]; the package's order is [sample, lat, lon, depth]");
  refuses("sst", {n_sample, 3, 5}, "got extents [3, 3, 5]");
  refuses("soil", {n_sample, 3, 4, 1}, "got extents [3, 3, 4, 1]");
  refuses("sst", {n_sample, 12}, "expected an array of rank 3 [sample, lat, lon], got rank 2");
  refuses("soil", {n_sample, 3, 4}, "rank 4 [sample, lat, lon, depth], got rank 3");
  refuses("season", {n_sample, 2}, "rank 1 [column], got rank 2");
  Box box({n_sample, 3, 4}, true);
  climlink_array view = box.view();
  view.stride[2] = 0;
  CHECK(climlink_set(handle, "sst", &view, 0) == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(climlink_last_message(), Contains("from one lon to the next is 0"));
  box({2, 1, 3}) = std::numeric_limits<double>::quiet_NaN();
  CHECK(set(handle, "sst", box) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(climlink_last_message(), Contains("sst: sample 2 (0-based), lat 1, lon 3: NaN"));
  Box soil({n_sample, 3, 4, 2}, true);
  soil({1, 2, 0, 1}) = 1e39;
  CHECK(set(handle, "soil", soil) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(climlink_last_message(),
             Contains("soil: sample 1 (0-based), lat 2, lon 0, depth 1: 1e+39"));
}

TEST_CASE("a package says what its dimensions are", "[fields]") {
  const Handle handle("field.pt");
  CHECK(dims_text(handle, CLIMLINK_INPUT, 0) == "lat 3 lon 4 ");
  CHECK(dims_text(handle, CLIMLINK_INPUT, 1) == "lat 3 lon 4 depth 2 ");
  CHECK(dims_text(handle, CLIMLINK_INPUT, 2).empty());
  CHECK(dims_text(handle, CLIMLINK_OUTPUT, 1) == "depth 2 lat 3 lon 4 ");
  int64_t size = -1;
  CHECK((climlink_dim_size(handle, "lon_fine", &size) == CLIMLINK_OK && size == 8));
  CHECK((climlink_dim_size(handle, "level", &size) == CLIMLINK_OK && size == 0));
  int32_t level_count = -1, n_pair = -1;
  CHECK((climlink_level_count(handle, &level_count) == CLIMLINK_OK && level_count == 0));
  double time_step_s = -1;
  CHECK((climlink_time_step(handle, &time_step_s) == CLIMLINK_OK && time_step_s == 0.0));
  CHECK((climlink_carried_count(handle, &n_pair) == CLIMLINK_OK && n_pair == 0));
  const char* text = nullptr;
  CHECK((climlink_variable_role(handle, CLIMLINK_OUTPUT, 0, &text) == CLIMLINK_OK &&
         std::string(text) == "value"));
  CHECK(climlink_variable_role(handle, CLIMLINK_OUTPUT, 2, &text) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(climlink_last_message(), Contains("index is 2"));
  CHECK(climlink_carried(handle, 0, &text, &text) == CLIMLINK_ERROR_ARGUMENT);
  // Claims about what the package does not state are not held against it.
  CHECK(support::opening("field.pt", {{"level_count", "60"}, {"time_step_s", "1800"}}).first ==
        CLIMLINK_OK);
}

TEST_CASE("the host's coordinates are compared with the package's", "[fields]") {
  const Handle handle("field.pt");
  const auto require = [&](const char* dim, const std::vector<double>& values) {
    return climlink_require_coordinate(handle, dim, values.data(),
                                       static_cast<int64_t>(values.size()));
  };
  CHECK(require("lat", {-60, 0, 60}) == CLIMLINK_OK);
  CHECK(require("lat", {-60.05, 0.05, 59.95}) == CLIMLINK_OK);  // 1e-3 of 60 degrees is 0.06
  CHECK(require("lon", {0, 90, 180, 270.05}) == CLIMLINK_OK);
  CHECK(require("depth", {1, 2, 3, 4, 5}) == CLIMLINK_OK);  // the package has no values for it
  CHECK(require("lat", {-60, 0.07, 60}) == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(), Contains("lat: at position 1 (0-based) the host has 0.07") &&
                                          Contains("the package 0 degrees_north"));
  CHECK(require("lat", {60, 0, -60}) == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(),
             Contains("position 0 (0-based) the host has 60, the package -60"));
  CHECK(require("lat", {-60, std::numeric_limits<double>::quiet_NaN(), 60}) == CLIMLINK_ERROR_HOST);
  CHECK(require("lat", {-60, 0}) == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(), Contains("the host has 2 values, the package 3"));
  CHECK(require("latitude", {-60, 0, 60}) == CLIMLINK_ERROR_VARIABLE);
  CHECK_THAT(climlink_last_message(),
             Contains("\"latitude\" is not a dimension of fixture") && Contains("Near names: lat"));
  CHECK(climlink_require_coordinate(handle, "lat", nullptr, 3) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_require_coordinate(handle, "lat", nullptr, -1) == CLIMLINK_ERROR_ARGUMENT);
}

// rows.pt answers with the number of rows of its forward; its granule is 4.
TEST_CASE("forwards are filled up to the package's own granule", "[fields]") {
  const auto rows_of = [](int32_t micro_batch, int64_t n) {
    const Handle handle("rows.pt", {{"micro_batch", std::to_string(micro_batch)}});
    std::vector<float> x(static_cast<std::size_t>(2 * n), 0.5F), y(static_cast<std::size_t>(n));
    REQUIRE(climlink_run_packed(handle, x.data(), n, 2, y.data(), 1) == CLIMLINK_OK);
    return y;
  };
  CHECK(rows_of(64, 3) == std::vector<float>(3, 4));
  CHECK(rows_of(64, 5) == std::vector<float>(5, 8));
  std::vector<float> expected(8, 8);
  expected.push_back(4);
  CHECK(rows_of(6, 9) == expected);  // 6 is rounded up to 8
}
