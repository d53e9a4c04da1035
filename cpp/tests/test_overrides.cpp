// Constraints that a host switches off. What a graph without the constraint gives is another
// package of the same network.
#include <catch2/catch.hpp>
#include <vector>

#include "support.hpp"

using Catch::Matchers::Contains;
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
