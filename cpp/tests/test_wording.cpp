// Messages in the words of the host's language: what counts from 0 in C counts from 1 in Fortran.
#include <catch2/catch.hpp>
#include <limits>

#include "support.hpp"

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using support::Field;
using support::Handle;
using support::opening;
using support::Options;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// The last message, once it has been seen to say nothing that only C says.
std::string fortran_message() {
  std::string message = climlink_last_message();
  for (const char* word : {"0-based", "climlink_", "CLIMLINK_", "null pointer", "extent["})
    CHECK_THAT(message, !Contains(word));
  return message;
}

climlink_status set(climlink_emulator* emulator, const char* name, Field<double>& field,
                    int64_t first = 0) {
  const climlink_array view = field.view();
  return climlink_set(emulator, name, &view, first);
}

climlink_array array_of(std::vector<double>& values, const std::vector<int64_t>& extents) {
  climlink_array array{};
  array.data = values.data();
  array.type = CLIMLINK_FLOAT64;
  array.rank = static_cast<int32_t>(extents.size());
  int64_t stride = sizeof(double);
  for (std::size_t i = 0; i < extents.size(); ++i) {
    array.extent[i] = extents[i];
    array.stride[i] = stride;
    stride *= extents[i];
  }
  return array;
}

}  // namespace

TEST_CASE("Fortran hears of columns and levels from 1", "[torch]") {
  const Handle handle("tiny.pt", {{"language", "fortran"}});
  REQUIRE(climlink_begin(handle, 6) == CLIMLINK_OK);
  Field<double> t(3, 4, 250.0);
  t(1, 2) = not_a_number;
  CHECK(set(handle, "state_t", t, 2) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(fortran_message(), StartsWith("state_t: column 4, level 3: NaN"));
  Field<double> ps(2, 0, not_a_number);
  CHECK(set(handle, "state_ps", ps, 4) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(fortran_message(), StartsWith("state_ps: column 5: NaN"));
  CHECK(set(handle, "state_ps", ps, 5) == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(fortran_message(),
             Contains("2 columns from column 6 do not lie within the 6 columns given to begin"));
  climlink_array view = t.view();
  view.extent[1] = 60;
  CHECK(climlink_set(handle, "state_t", &view, 0) == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(fortran_message(), Contains("expected 4 levels in dimension 2, got 60"));
  view.extent[1] = 4;
  view.data = nullptr;
  CHECK(climlink_set(handle, "state_t", &view, 0) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(fortran_message(), Contains("state_t: the values have no address"));
  std::vector<float> x(2 * 9, 1.0F), y(2 * 5);
  x[9 + 6] = std::numeric_limits<float>::infinity();
  CHECK(climlink_run_packed(handle, x.data(), 2, 9, y.data(), 5) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(fortran_message(), StartsWith("state_q0001: column 2, level 3: Inf"));
}

TEST_CASE("Fortran hears the names of its own calls", "[torch]") {
  const Handle handle("tiny.pt", {{"language", "fortran"}});
  Field<double> t(2, 4, 250.0);
  CHECK(set(handle, "state_t", t) == CLIMLINK_ERROR_STATE);
  CHECK_THAT(fortran_message(), Contains("set needs begin first"));
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_STATE);
  CHECK_THAT(fortran_message(), Contains("run needs begin and every input set"));
  const climlink_array view = t.view();
  CHECK(climlink_get(handle, "ptend_t", &view, 0) == CLIMLINK_ERROR_STATE);
  CHECK_THAT(fortran_message(), Contains("get needs a run of this step first"));
  REQUIRE(climlink_begin(handle, 2) == CLIMLINK_OK);
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_VARIABLE);
  CHECK_THAT(fortran_message(), Contains("state_t (2 of 2 columns missing)"));
  CHECK(climlink_run(nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(fortran_message(), Contains("not open; open a package first"));
}

TEST_CASE("Fortran hears of golden columns, steps and coordinates from 1", "[torch]") {
  const auto refused = [](const char* name, const char* words) {
    CAPTURE(name);
    CHECK(opening(name, {{"language", "fortran"}}).first != CLIMLINK_OK);
    CHECK_THAT(fortran_message(), Contains(words));
  };
  refused("golden_tampered.pt", "ptend_t: column 3, level 4: got ");
  refused("chain_drifts.pt", "step 2 of 3: memory_next: column 1, level 1: ");
  refused("chain_broken.pt", "memory in step 2, sequence 2 is not memory_next");
  refused("chain_half_start.pt", "start is 0.5 in step 1, sequence 2 of");
  const Handle memory("memory_bare.pt", {{"language", "fortran"}});
  int32_t count = 0;
  int64_t n_input = 0, n_output = 0;
  REQUIRE(climlink_variable_count(memory, CLIMLINK_INPUT, &count, &n_input) == CLIMLINK_OK);
  REQUIRE(climlink_variable_count(memory, CLIMLINK_OUTPUT, &count, &n_output) == CLIMLINK_OK);
  std::vector<float> x(static_cast<std::size_t>(2 * n_input), 0.25F);
  std::vector<float> y(static_cast<std::size_t>(2 * n_output));
  CHECK(climlink_run_packed(memory, x.data(), 2, n_input, y.data(), n_output) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(fortran_message(), Contains("start: sample 1 has 0.25"));
  const Handle field("field.pt", {{"language", "fortran"}});
  const std::vector<double> lat = {-60, 0.07, 60};
  CHECK(climlink_require_coordinate(field, "lat", lat.data(), 3) == CLIMLINK_ERROR_HOST);
  CHECK_THAT(fortran_message(), Contains("lat: at position 2 the host has 0.07"));
}

TEST_CASE("an array with the sample last is recognized", "[torch]") {
  const auto message_of = [](const char* language, int64_t n_column, int64_t n_level) {
    const Handle handle("tiny.pt", {{"language", language}});
    REQUIRE(climlink_begin(handle, 6) == CLIMLINK_OK);
    Field<double> turned(n_level, n_column, 1.0);
    CHECK(set(handle, "state_t", turned) == CLIMLINK_ERROR_SHAPE);
    return std::string(climlink_last_message());
  };
  const std::string seems =
      "expected 4 levels in dimension 2, got 6. The array seems to be "
      "[level, column]; pass transpose(values) or declare it so in the table";
  CHECK_THAT(message_of("fortran", 6, 4), Contains(seems));
  CHECK_THAT(message_of("fortran", 5, 4), Contains("seems to be [level, column]"));
  CHECK_THAT(message_of("c", 6, 4),
             Contains("seems to be [level, column]; pass its extents and strides"));
  // Other sizes are no order.
  CHECK_THAT(message_of("fortran", 7, 4), !Contains("seems to be"));
  CHECK_THAT(message_of("fortran", 6, 3), !Contains("seems to be"));
}

TEST_CASE("a field with the sample last is recognized, in either order of its dims", "[fields]") {
  const Handle handle("field.pt", {{"language", "fortran"}});
  REQUIRE(climlink_begin(handle, 5) == CLIMLINK_OK);
  std::vector<double> values(5 * 3 * 4 * 2, 1.0);
  const auto message_of = [&](const char* name, const std::vector<int64_t>& extents) {
    const climlink_array array = array_of(values, extents);
    CHECK(climlink_set(handle, name, &array, 0) == CLIMLINK_ERROR_SHAPE);
    return fortran_message();
  };
  CHECK_THAT(message_of("sst", {3, 4, 5}), Contains("seems to be [lat, lon, sample]; pass it with "
                                                    "the sample first or declare it so in"));
  CHECK_THAT(message_of("sst", {4, 3, 5}), Contains("seems to be [lon, lat, sample]"));
  CHECK_THAT(message_of("soil", {2, 4, 3, 5}), Contains("seems to be [depth, lon, lat, sample]"));
  CHECK_THAT(message_of("sst", {5, 4, 3}), !Contains("seems to be"));
  values[7] = not_a_number;
  const climlink_array array = array_of(values, {5, 3, 4});
  CHECK(climlink_set(handle, "sst", &array, 0) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(fortran_message(), StartsWith("sst: sample 3, lat 2, lon 1: NaN"));
}
