// Constraints that a host switches off. What a graph without the constraint gives is another
// package of the same network.
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support.hpp"

using Catch::Matchers::Contains;
using support::Field;
using support::Handle;
using support::opening;
using support::Options;

namespace {

Options without(const char* constraints) { return {{"constraints_off", constraints}}; }

void refuses(const std::string& name, const char* constraints, const std::string& words) {
  CAPTURE(name, constraints);
  const auto [status, message] = opening(name, without(constraints));
  CHECK(std::string(climlink_status_name(status)) == "argument");
  CHECK_THAT(message, Contains(words));
}

std::string off(const climlink_emulator* emulator) {
  const char* names = nullptr;
  REQUIRE(climlink_constraints_off(emulator, &names) == CLIMLINK_OK);
  return names;
}

// 33 columns: a full micro-batch and a ragged one.
std::vector<float> outputs(climlink_emulator* emulator) {
  constexpr std::int64_t n_column = 33, n_input = 9, n_output = 5;
  std::vector<float> x(n_column * n_input), y(n_column * n_output);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1.0F + static_cast<float>(i % 23) * 0.125F;
  REQUIRE(climlink_run_packed(emulator, x.data(), n_column, n_input, y.data(), n_output) ==
          CLIMLINK_OK);
  return y;
}

bool has_policy(const climlink_emulator* emulator) {
  std::int32_t yes = -1;
  REQUIRE(climlink_has_range_policy(emulator, &yes) == CLIMLINK_OK);
  return yes == 1;
}

constexpr std::int64_t n_set = 33;

// Begins a step and sets every input of the tiny packages; returns T.
Field<double> set_columns(climlink_emulator* emulator) {
  Field<double> t(n_set, 4), q(n_set, 4, 0.5), ps(n_set, 0, 2.0);
  for (std::size_t i = 0; i < t.values.size(); ++i) t.values[i] = 0.1 * static_cast<double>(i);
  REQUIRE(climlink_begin(emulator, n_set) == CLIMLINK_OK);
  for (auto [name, field] :
       {std::pair{"state_t", &t}, std::pair{"state_q0001", &q}, std::pair{"state_ps", &ps}}) {
    const climlink_array view = field->view();
    REQUIRE(climlink_set(emulator, name, &view, 0) == CLIMLINK_OK);
  }
  return t;
}

// What climlink_range_use answers for n_column columns; -1 where it wrote nothing.
struct Use {
  explicit Use(climlink_emulator* emulator, std::int64_t n_column = n_set)
      : clipped(n_set, -1.0), heating(n_set, -1.0), share(n_set, -1.0) {
    status = climlink_range_use(emulator, n_column, clipped.data(), heating.data(), share.data());
  }

  climlink_status status;
  std::vector<double> clipped, heating, share;
};

}  // namespace

TEST_CASE("names of constraints to switch off are held against the manifest, in every build",
          "[open]") {
  refuses("switched.pt", "raisd",
          "\"raisd\", which is no constraint of this package. Near names: raised.");
  refuses("switched.pt", "raisd", "It has: doubled, raised, rain_from_cloud");
  refuses("switched.pt", "doubled,Raised", "\"Raised\"");
  refuses("switched.pt", "doubled, raised, doubled", "names \"doubled\" 2 times");
  refuses("switched.pt", "doubled,,raised", "\"\", which is no constraint");
  refuses("switched.pt", "doubled,", "\"\", which is no constraint");
  refuses("imported.pt", "doubled", "an imported graph");
}

TEST_CASE("how much a range policy is needed is told of every column of the step", "[torch]") {
  for (const char* off : {"", "input_clip", "range_relaxation"}) {
    const Handle handle("ranged.pt", without(off));
    const bool clips = std::string(off) != "input_clip",
               relaxes = std::string(off) != "range_relaxation";
    CHECK(has_policy(handle));
    Field<double> t = set_columns(handle);
    for (const bool ran : {false, true}) {
      CAPTURE(off, ran);
      if (ran) REQUIRE(climlink_run(handle) == CLIMLINK_OK);
      const Use use(handle);
      REQUIRE(use.status == CLIMLINK_OK);
      for (std::int64_t c = 0; c < n_set; ++c) {
        const auto third = [&](std::int64_t k) { return static_cast<float>(t(c, k)) / 3.0; };
        const auto i = static_cast<std::size_t>(c);
        CHECK(use.clipped[i] == (clips ? third(0) : 0.0));
        CHECK(use.heating[i] == (relaxes ? third(1) : 0.0));
        CHECK(use.share[i] == (relaxes ? third(2) : 0.0));
      }
    }
  }
}

TEST_CASE("without a range policy nothing is used, and asking is no error", "[torch]") {
  for (const auto& [name, off] : {std::pair{"switched.pt", ""}, std::pair{"imported.pt", ""},
                                  std::pair{"ranged.pt", "input_clip, range_relaxation"}}) {
    CAPTURE(name);
    const Handle handle(name, without(off));
    CHECK_FALSE(has_policy(handle));
    set_columns(handle);
    const Use use(handle);
    CHECK(use.status == CLIMLINK_OK);
    CHECK(use.clipped == std::vector<double>(n_set, 0.0));
    CHECK(use.heating == use.clipped);
    CHECK(use.share == use.clipped);
  }
}

TEST_CASE("use that cannot be told is refused", "[torch]") {
  const auto [status, message] = opening("ranged_untold.pt");
  CHECK(status == CLIMLINK_ERROR_GRAPH);
  CHECK_THAT(message, Contains("no method range_use") && Contains("Export the package again"));
  CHECK_THAT(opening("ranged_float32.pt").second,
             Contains("range_use of the graph returns Float [64, 3]; expected Double"));
  const Handle handle("ranged.pt");
  CHECK(Use(handle).status == CLIMLINK_ERROR_STATE);
  REQUIRE(climlink_begin(handle, n_set) == CLIMLINK_OK);
  CHECK(Use(handle).status == CLIMLINK_ERROR_VARIABLE);
  set_columns(handle);
  CHECK(Use(handle, n_set - 1).status == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(climlink_last_message(), Contains("n_column is 32; this step has 33"));
  CHECK(climlink_range_use(handle, n_set, nullptr, nullptr, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_range_use(nullptr, 0, nullptr, nullptr, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_has_range_policy(handle, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  REQUIRE(climlink_begin(handle, 0) == CLIMLINK_OK);
  CHECK(climlink_range_use(handle, 0, nullptr, nullptr, nullptr) == CLIMLINK_OK);
}

TEST_CASE("a graph without the constraint gives the same bits", "[torch]") {
  const Handle whole("switched.pt"), not_doubled("not_doubled.pt"), not_raised("not_raised.pt"),
      neither("rain.pt");
  const Handle doubled_off("switched.pt", without("doubled"));
  const Handle raised_off("switched.pt", without(" raised\t"));
  const Handle both_off("switched.pt", without("raised, doubled"));
  CHECK(outputs(doubled_off) == outputs(not_doubled));
  CHECK(outputs(raised_off) == outputs(not_raised));
  CHECK(outputs(both_off) == outputs(neither));
  CHECK(outputs(doubled_off) != outputs(whole));
  CHECK(outputs(raised_off) != outputs(whole));
  CHECK(outputs(doubled_off) != outputs(raised_off));
}

TEST_CASE("what is switched off can be asked, in the manifest's order", "[torch]") {
  CHECK(off(Handle("switched.pt", without("raised, doubled"))).compare("doubled,raised") == 0);
  for (const char* none : {"", "  \n"}) {
    const Handle handle("switched.pt", without(none));
    CHECK(off(handle).empty());
    CHECK(outputs(handle) == outputs(Handle("switched.pt")));
  }
  const Handle handle("switched.pt", without("raised"));
  CHECK(climlink_constraints_off(handle, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_constraints_off(nullptr, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  double difference = -1;
  REQUIRE(climlink_golden_difference(handle, &difference) == CLIMLINK_OK);
  CHECK((difference >= 0 &&
         difference <=
             1e-6));  // of the graph with all constraints: without one it would be of order 1
}

TEST_CASE("constraints that cannot be left out are refused", "[torch]") {
  refuses("switched.pt", "rain_from_cloud", "cam_out_PRECC would not exist without it");
  refuses("tiny.pt", "scale", "the graph has no switch for it");
  refuses("tiny.pt", "scale", "Export the package again");
  CHECK(opening("imported.pt", without(" ")).first == CLIMLINK_OK);
}

TEST_CASE("the golden columns are replayed also where a constraint is off", "[torch]") {
  CHECK(opening("switched_tampered.pt", without("raised")).first == CLIMLINK_ERROR_GOLDEN);
}
