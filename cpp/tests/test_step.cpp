// begin, set, run, get: values, every refusal, and that a refused step leaves the emulator usable.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>
#include <tuple>

#include "support.hpp"

using Catch::Matchers::Contains;
using support::Field;
using support::Handle;

namespace {

constexpr int64_t levels = 4;

template <class T>
struct TinyInputs {
  explicit TinyInputs(int64_t n) : t(n, levels), q(n, levels), ps(n, 0) {
    for (int64_t c = 0; c < n; ++c) {
      for (int64_t l = 0; l < levels; ++l) {
        t(c, l) = static_cast<T>(0.25 * static_cast<double>(c) - static_cast<double>(l));
        q(c, l) = static_cast<T>(0.5 * static_cast<double>(l * c) + 1);
      }
      ps(c) = static_cast<T>(2 + c % 3);
    }
  }
  climlink_status set(climlink_emulator* e, int64_t first = 0) {
    for (auto [name, field] :
         {std::pair{"state_t", &t}, std::pair{"state_q0001", &q}, std::pair{"state_ps", &ps}}) {
      const climlink_array view = field->view();
      if (const auto status = climlink_set(e, name, &view, first); status != CLIMLINK_OK)
        return status;
    }
    return CLIMLINK_OK;
  }
  // The same columns as packed rows [n, 9].
  std::vector<float> rows() {
    std::vector<float> x;
    for (int64_t c = 0; c < t.n_column; ++c) {
      for (int64_t l = 0; l < levels; ++l) x.push_back(static_cast<float>(t(c, l)));
      for (int64_t l = 0; l < levels; ++l) x.push_back(static_cast<float>(q(c, l)));
      x.push_back(static_cast<float>(ps(c)));
    }
    return x;
  }
  Field<T> t, q, ps;
};

template <class T>
climlink_status set_one(climlink_emulator* e, const char* name, Field<T>& field,
                        int64_t first = 0) {
  const climlink_array view = field.view();
  return climlink_set(e, name, &view, first);
}

template <class T>
climlink_status get_one(climlink_emulator* e, const char* name, Field<T>& field,
                        int64_t first = 0) {
  const climlink_array view = field.view();
  return climlink_get(e, name, &view, first);
}

}  // namespace

TEMPLATE_TEST_CASE("outputs by name equal the packed rows, for float32 and float64 hosts",
                   "[torch]", float, double) {
  const Handle handle("tiny.pt");
  for (const int64_t n : {1, 2, 7, 64, 65, 130}) {
    CAPTURE(n);
    TinyInputs<TestType> inputs(n);
    std::vector<float> packed(static_cast<std::size_t>(n * 5));
    REQUIRE(climlink_run_packed(handle, inputs.rows().data(), n, 9, packed.data(), 5) ==
            CLIMLINK_OK);
    REQUIRE(climlink_begin(handle, n) == CLIMLINK_OK);
    REQUIRE(inputs.set(handle) == CLIMLINK_OK);
    REQUIRE(climlink_run(handle) == CLIMLINK_OK);
    Field<TestType> tendency(n, levels), rain(n, 0);
    REQUIRE(get_one(handle, "ptend_t", tendency) == CLIMLINK_OK);
    REQUIRE(get_one(handle, "cam_out_PRECC", rain) == CLIMLINK_OK);
    for (int64_t c = 0; c < n; ++c) {
      for (int64_t l = 0; l < levels; ++l)
        REQUIRE(tendency(c, l) ==
                static_cast<TestType>(packed[static_cast<std::size_t>(c * 5 + l)]));
      REQUIRE(rain(c) == static_cast<TestType>(packed[static_cast<std::size_t>(c * 5 + 4)]));
    }
  }
}

TEST_CASE("chunks of columns set one by one give the bits of one set", "[torch]") {
  const Handle handle("tiny.pt");
  constexpr int64_t n = 23;
  TinyInputs<double> whole(n);
  std::vector<float> expected(n * 5);
  REQUIRE(climlink_run_packed(handle, whole.rows().data(), n, 9, expected.data(), 5) ==
          CLIMLINK_OK);
  for (const int64_t chunk : {1, 4, 16}) {
    REQUIRE(climlink_begin(handle, n) == CLIMLINK_OK);
    for (int64_t first = 0; first < n; first += chunk) {
      for (auto [name, field] : {std::pair{"state_ps", &whole.ps}, std::pair{"state_t", &whole.t},
                                 std::pair{"state_q0001", &whole.q}}) {
        climlink_array view = field->view();
        view.data = &(*field)(first);
        view.extent[0] = std::min(chunk, n - first);
        REQUIRE(climlink_set(handle, name, &view, first) == CLIMLINK_OK);
      }
    }
    REQUIRE(climlink_run(handle) == CLIMLINK_OK);
    Field<float> one(1, levels);
    for (int64_t c = n - 1; c >= 0; --c) {
      REQUIRE(get_one(handle, "ptend_t", one, c) == CLIMLINK_OK);
      for (int64_t l = 0; l < levels; ++l)
        REQUIRE(one(0, l) == expected[static_cast<std::size_t>(c * 5 + l)]);
    }
  }
}

TEST_CASE("no columns are a legal step", "[torch]") {
  const Handle handle("tiny.pt");
  REQUIRE(climlink_begin(handle, 0) == CLIMLINK_OK);
  TinyInputs<double> none(0);
  climlink_array empty = none.t.view();
  empty.data = nullptr;
  CHECK(climlink_set(handle, "state_t", &empty, 0) == CLIMLINK_OK);
  CHECK(climlink_run(handle) == CLIMLINK_OK);
  CHECK(climlink_get(handle, "ptend_t", &empty, 0) == CLIMLINK_OK);
  CHECK(climlink_run_packed(handle, nullptr, 0, 9, nullptr, 5) == CLIMLINK_OK);
  REQUIRE(climlink_begin(handle, 0) == CLIMLINK_OK);
  CHECK(climlink_run(handle) == CLIMLINK_OK);
}

TEST_CASE("unset variables are listed with the columns that miss", "[torch]") {
  const Handle handle("tiny.pt");
  REQUIRE(climlink_begin(handle, 10) == CLIMLINK_OK);
  TinyInputs<double> part(4);
  REQUIRE(set_one(handle, "state_t", part.t, 3) == CLIMLINK_OK);
  REQUIRE(set_one(handle, "state_t", part.t, 5) == CLIMLINK_OK);  // overlaps: 3 to 8 are set
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_VARIABLE);
  CHECK_THAT(climlink_last_message(),
             Contains("3 input variable(s)") && Contains("state_t (4 of 10 columns missing)") &&
                 Contains("state_q0001 (10 of 10 columns missing)") && Contains("state_ps"));
  TinyInputs<double> whole(10);
  REQUIRE(whole.set(handle) == CLIMLINK_OK);  // what was missing may follow
  CHECK(climlink_run(handle) == CLIMLINK_OK);
}

TEST_CASE("one column that is not set is enough, whichever it is", "[torch]") {
  const Handle handle("tiny.pt");
  constexpr int64_t n = 40;
  for (const std::string missing : {"state_t", "state_q0001", "state_ps"}) {
    for (const int64_t absent : {int64_t{0}, int64_t{17}, n - 1}) {
      CAPTURE(missing, absent);
      REQUIRE(climlink_begin(handle, n) == CLIMLINK_OK);
      TinyInputs<double> whole(n), before(absent), after(n - 1 - absent);
      for (auto [name, all, left, right] :
           {std::tuple{"state_t", &whole.t, &before.t, &after.t},
            std::tuple{"state_q0001", &whole.q, &before.q, &after.q},
            std::tuple{"state_ps", &whole.ps, &before.ps, &after.ps}}) {
        if (missing != name) {
          REQUIRE(set_one(handle, name, *all) == CLIMLINK_OK);
          continue;
        }
        if (absent > 0) REQUIRE(set_one(handle, name, *left) == CLIMLINK_OK);
        if (absent < n - 1) REQUIRE(set_one(handle, name, *right, absent + 1) == CLIMLINK_OK);
      }
      CHECK(climlink_run(handle) == CLIMLINK_ERROR_VARIABLE);
      CHECK_THAT(climlink_last_message(), Contains("1 input variable(s)") &&
                                              Contains(missing + " (1 of 40 columns missing)"));
    }
  }
}

TEST_CASE("calls out of order are refused", "[torch]") {
  const Handle handle("tiny.pt");
  TinyInputs<double> inputs(2);
  Field<double> out(2, levels);
  CHECK(inputs.set(handle) == CLIMLINK_ERROR_STATE);
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_STATE);
  CHECK(get_one(handle, "ptend_t", out) == CLIMLINK_ERROR_STATE);
  REQUIRE(climlink_begin(handle, 2) == CLIMLINK_OK);
  CHECK(get_one(handle, "ptend_t", out) == CLIMLINK_ERROR_STATE);
  CHECK_THAT(climlink_last_message(), Contains("needs a climlink_run"));
  REQUIRE(inputs.set(handle) == CLIMLINK_OK);
  REQUIRE(climlink_run(handle) == CLIMLINK_OK);
  CHECK(inputs.set(handle) == CLIMLINK_ERROR_STATE);
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_STATE);
  CHECK(get_one(handle, "ptend_t", out) == CLIMLINK_OK);
  REQUIRE(climlink_begin(handle, 2) == CLIMLINK_OK);
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_VARIABLE);  // begin forgets
}

TEST_CASE("wrong names, shapes, types and ranges are refused", "[torch]") {
  const Handle handle("tiny.pt");
  REQUIRE(climlink_begin(handle, 6) == CLIMLINK_OK);
  TinyInputs<double> inputs(6);
  const auto refuses = [&](const char* name, climlink_status status, const char* words,
                           const auto& edit, int64_t first = 0) {
    climlink_array view = inputs.t.view();
    edit(view);
    CHECK(climlink_set(handle, name, &view, first) == status);
    CHECK_THAT(climlink_last_message(), Contains(words));
  };
  const auto nothing = [](climlink_array&) {};
  refuses("state_T", CLIMLINK_ERROR_VARIABLE, "Near names: state_t", nothing);
  refuses("ptend_t", CLIMLINK_ERROR_VARIABLE, "It is an output", nothing);
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "expected type CLIMLINK_FLOAT32",
          [](auto& v) { v.type = static_cast<climlink_type>(9); });
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "rank 2 [column, level], got rank 1",
          [](auto& v) { v.rank = 1; });
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "got rank 3", [](auto& v) { v.rank = 3; });
  refuses("state_ps", CLIMLINK_ERROR_SHAPE, "rank 1 [column], got rank 2", nothing);
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "expected 4 levels in extent[1], got 60",
          [](auto& v) { v.extent[1] = 60; });
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "extent[0] is -2", [](auto& v) { v.extent[0] = -2; });
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "do not lie within the 6 columns",
          [](auto& v) { v.extent[0] = 7; });
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "do not lie within", nothing, 1);
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "do not lie within", nothing, -1);
  refuses(
      "state_t", CLIMLINK_ERROR_SHAPE, "do not lie within", [](auto& v) { v.extent[0] = 1; },
      std::numeric_limits<int64_t>::max());
  refuses(
      "state_t", CLIMLINK_ERROR_SHAPE, "do not lie within",
      [](auto& v) { v.extent[0] = std::numeric_limits<int64_t>::max(); }, 3);
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "from one column to the next is 0",
          [](auto& v) { v.stride[0] = 0; });
  refuses("state_t", CLIMLINK_ERROR_SHAPE, "from one level to the next is 0",
          [](auto& v) { v.stride[1] = 0; });
  refuses("state_t", CLIMLINK_ERROR_ARGUMENT, "data is a null pointer",
          [](auto& v) { v.data = nullptr; });
  CHECK(climlink_set(handle, nullptr, nullptr, 0) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_set(handle, "state_t", nullptr, 0) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_begin(handle, -1) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_begin(handle, std::numeric_limits<int64_t>::max()) == CLIMLINK_ERROR_ARGUMENT);
  Field<double> column(6, 1, 2.0);  // [column, 1] is a scalar too
  CHECK(set_one(handle, "state_ps", column) == CLIMLINK_OK);
}

TEST_CASE("packed rows of another width are refused", "[torch]") {
  const Handle handle("tiny.pt");
  std::vector<float> x(18, 1.0F), y(10);
  CHECK(climlink_run_packed(handle, x.data(), 2, 8, y.data(), 5) == CLIMLINK_ERROR_SHAPE);
  CHECK(climlink_run_packed(handle, x.data(), 2, 9, y.data(), 4) == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(climlink_last_message(),
             Contains("expected 9 inputs and 5 outputs per column, got 9 and 4"));
  CHECK(climlink_run_packed(handle, x.data(), -2, 9, y.data(), 5) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_run_packed(handle, nullptr, 2, 9, y.data(), 5) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_run_packed(handle, x.data(), 2, 9, nullptr, 5) == CLIMLINK_ERROR_ARGUMENT);
  x[9 + 4 + 2] = std::nanf("");
  CHECK(climlink_run_packed(handle, x.data(), 2, 9, y.data(), 5) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(climlink_last_message(), Contains("state_q0001: column 1 (0-based), level 2: NaN"));
}

TEST_CASE("inputs that are not finite are refused with their first column and level", "[torch]") {
  const Handle handle("tiny.pt");
  REQUIRE(climlink_begin(handle, 30) == CLIMLINK_OK);
  TinyInputs<double> inputs(20);
  REQUIRE(climlink_set(handle, "state_ps", std::array{inputs.ps.view()}.data(), 0) == CLIMLINK_OK);
  const auto refuses = [&](double value, const char* words) {
    inputs.t(17, 1) = value;
    inputs.t(11, 3) = value;
    CHECK(set_one(handle, "state_t", inputs.t, 10) == CLIMLINK_ERROR_NONFINITE);
    CHECK_THAT(climlink_last_message(), Contains(words));
  };
  const double infinity = std::numeric_limits<double>::infinity();
  refuses(std::nan(""),
          "state_t: column 21 (0-based), level 3: NaN where a finite value is needed");
  refuses(infinity, "level 3: Inf");
  refuses(-infinity, "level 3: -Inf");
  refuses(1e39, "level 3: 1e+39, which float32 cannot hold");
  inputs.ps(4) = std::nan("");
  CHECK(set_one(handle, "state_ps", inputs.ps, 10) == CLIMLINK_ERROR_NONFINITE);
  CHECK_THAT(climlink_last_message(), Contains("state_ps: column 14 (0-based): NaN"));
  CHECK(climlink_run(handle) == CLIMLINK_ERROR_VARIABLE);  // columns of a refused call count as
                                                           // unset, even where they were set before
  CHECK_THAT(climlink_last_message(), Contains("state_ps (20 of 30 columns missing)"));
  inputs.t(17, 1) = inputs.t(11, 3) = 1e30;
  CHECK(set_one(handle, "state_t", inputs.t, 10) == CLIMLINK_OK);
}

TEST_CASE("a failed run names the cause and the next step works", "[torch]") {
  const Handle handle("tiny.pt");
  TinyInputs<double> inputs(9);
  Field<double> out(9, levels);
  SECTION("outputs that are not finite") {
    inputs.ps(5) = 0;
    REQUIRE(climlink_begin(handle, 9) == CLIMLINK_OK);
    REQUIRE(inputs.set(handle) == CLIMLINK_OK);
    CHECK(climlink_run(handle) == CLIMLINK_ERROR_NONFINITE);
    CHECK_THAT(climlink_last_message(),
               Contains("ptend_t: column 5 (0-based), level 0: the network's output is"));
  }
  SECTION("a graph that raises") {
    inputs.t(3, 2) = 2e6;
    REQUIRE(climlink_begin(handle, 9) == CLIMLINK_OK);
    REQUIRE(inputs.set(handle) == CLIMLINK_OK);
    CHECK(climlink_run(handle) == CLIMLINK_ERROR_BACKEND);
    CHECK_THAT(climlink_last_message(), Contains("the tiny network refuses inputs above 1e6"));
  }
  CHECK(get_one(handle, "ptend_t", out) == CLIMLINK_ERROR_STATE);
  CHECK_THAT(climlink_last_message(), Contains("the last climlink_run failed"));
  TinyInputs<double> sound(9);
  REQUIRE(climlink_begin(handle, 9) == CLIMLINK_OK);
  REQUIRE(sound.set(handle) == CLIMLINK_OK);
  REQUIRE(climlink_run(handle) == CLIMLINK_OK);
  CHECK(get_one(handle, "ptend_t", out) == CLIMLINK_OK);
}

TEST_CASE("confidence is read by name like any output", "[torch]") {
  const Handle handle("confidence.pt");
  TinyInputs<double> inputs(3);
  std::vector<float> packed(15);
  REQUIRE(climlink_run_packed(handle, inputs.rows().data(), 3, 9, packed.data(), 5) == CLIMLINK_OK);
  REQUIRE(climlink_begin(handle, 3) == CLIMLINK_OK);
  REQUIRE(inputs.set(handle) == CLIMLINK_OK);
  REQUIRE(climlink_run(handle) == CLIMLINK_OK);
  Field<float> confidence(3, 0);
  REQUIRE(get_one(handle, "confidence_cam_out_PRECSC", confidence) == CLIMLINK_OK);
  CHECK((confidence(0) == packed[4] && confidence(1) == packed[9] && confidence(2) == packed[14]));
}

TEST_CASE("messages belong to their thread", "[torch]") {
  CHECK(climlink_run(nullptr) == CLIMLINK_ERROR_ARGUMENT);
  std::string before = "not run", after;
  std::thread([&] {
    before = climlink_last_message();
    climlink_open("/nowhere/at/all.pt", nullptr, std::array<climlink_emulator*, 1>{}.data());
    after = climlink_last_message();
  }).join();
  CHECK(before.empty());
  CHECK_THAT(after, Contains("/nowhere/at/all.pt"));
  CHECK_THAT(climlink_last_message(), Contains("the emulator is not open"));
}

TEST_CASE("two handles are independent, also on two threads", "[torch]") {
  const Handle one("tiny.pt"), two("tiny.pt");
  TinyInputs<double> few(3), many(40);
  std::vector<float> expected(40 * 5);
  REQUIRE(climlink_run_packed(one, many.rows().data(), 40, 9, expected.data(), 5) == CLIMLINK_OK);
  REQUIRE(climlink_begin(one, 3) == CLIMLINK_OK);
  REQUIRE(climlink_begin(two, 40) == CLIMLINK_OK);
  REQUIRE(many.set(two) == CLIMLINK_OK);
  REQUIRE(few.set(one) == CLIMLINK_OK);
  climlink_status first = CLIMLINK_ERROR_INTERNAL, second = CLIMLINK_ERROR_INTERNAL;
  std::thread a([&] { first = climlink_run(one); });
  std::thread b([&] { second = climlink_run(two); });
  a.join();
  b.join();
  REQUIRE((first == CLIMLINK_OK && second == CLIMLINK_OK));
  Field<float> out(40, 0);
  REQUIRE(get_one(two, "cam_out_PRECC", out) == CLIMLINK_OK);
  for (int64_t c = 0; c < 40; ++c) CHECK(out(c) == expected[static_cast<std::size_t>(c * 5 + 4)]);
}
