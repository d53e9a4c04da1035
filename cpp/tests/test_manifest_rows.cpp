// What a row is: dimensions, roles, carried pairs. Every rule is broken once, on manifests that
// open.
#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "manifest.hpp"
#include "support.hpp"

using Catch::Matchers::Contains;
using climlink::Manifest;
using climlink::VariableRole;
using nlohmann::json;

namespace {

json read(const char* name) { return json::parse(support::read_bytes(support::fixture(name))); }

// "accepted", or the message of refusing a changed manifest.
std::string refusal(const char* name, const std::function<void(json&)>& edit) {
  json document = read(name);
  edit(document);
  try {
    climlink::parse_manifest(document.dump(), "file.pt");
  } catch (const climlink::Error& error) {
    CHECK(error.status() == CLIMLINK_ERROR_SCHEMA);
    return error.what();
  }
  return "accepted";
}

std::string field(const std::function<void(json&)>& edit) { return refusal("field.json", edit); }
std::string memory(const std::function<void(json&)>& edit) { return refusal("memory.json", edit); }

}  // namespace

TEST_CASE("a row of fields is read with its dims, sizes and coordinates", "[manifest]") {
  const Manifest m = climlink::parse_manifest(read("field.json").dump(), "file.pt");
  CHECK((m.dim_size("lat") == 3 && m.dim_size("lon") == 4 && m.dim_size("level") == 0));
  CHECK(m.coordinates.at("lat_fine").values.front() == 75.0);
  CHECK(m.coordinates.at("lon").units == "degrees_east");
  CHECK(m.batch_granule == 1);
  CHECK(m.time_step_s == 0.0);
  const auto& soil = m.inputs.variables[1];
  CHECK(soil.dims == std::vector<std::string>{"lat", "lon", "depth"});
  CHECK(soil.sizes == std::vector<std::int64_t>{3, 4, 2});
  CHECK((soil.width == 24 && soil.offset == 12));
  CHECK(soil.position_text(0, {}) == "lat 0, lon 0, depth 0");
  CHECK(soil.position_text(2 * 8 + 3 * 2 + 1, {}) == "lat 2, lon 3, depth 1");
  CHECK(soil.position_text(2 * 8 + 3 * 2 + 1, {climlink::Language::fortran}) ==
        "lat 3, lon 4, depth 2");
  CHECK(m.inputs.variables[2].position_text(0, {}).empty());
}

TEST_CASE("dims are in the manifest, each once, and their sizes give the width", "[manifest]") {
  const auto sst = [](const json& dims) {
    return field([&](json& d) { d["inputs"]["variables"][0]["dims"] = dims; });
  };
  CHECK_THAT(sst({"lat", "depth"}),
             Contains("inputs.variables[0].width: says 12, but sst [lat 3, depth 2] has 6 values"));
  CHECK_THAT(sst({"lat", "longitude"}),
             Contains("inputs.variables[0].dims: \"longitude\" is not in the manifest's dims"));
  CHECK_THAT(sst({"lat", "lat"}), Contains("lat stands twice"));
  CHECK_THAT(sst({"lat", "lon", "depth", "lat_fine"}), Contains("at most 3 dimensions, got 4"));
  CHECK_THAT(sst("lat"), Contains("expected a list of texts"));
  CHECK(sst({"lon", "lat"}) == "accepted");
  CHECK_THAT(field([](json& d) { d["dims"]["lat"] = 0; }),
             Contains("dims.lat: expected a whole number from 1"));
  CHECK_THAT(field([](json& d) { d["dims"]["lat"] = 3.0; }),
             Contains("dims.lat: expected a whole number"));
  CHECK_THAT(field([](json& d) { d["dims"]["lat"] = 4, d["coordinates"].erase("lat"); }),
             Contains("has 16 values"));
  CHECK_THAT(field([](json& d) { d["dims"] = {"lat"}; }), Contains("dims: expected an object"));
}

TEST_CASE("a row wider than 2e9 values is refused, however its product would overflow",
          "[manifest]") {
  const auto sized = [](std::int64_t lat, std::int64_t lon, std::int64_t depth) {
    return field([&](json& d) {
      d["coordinates"].clear();
      d["dims"]["lat"] = lat, d["dims"]["lon"] = lon, d["dims"]["depth"] = depth;
    });
  };
  CHECK_THAT(sized(100'000, 100'000, 2),
             Contains("at most 2000000000 values, [lat 100000, lon 100000] are more"));
  CHECK_THAT(sized(2'000'000'000, 2'000'000'000, 2'000'000'000),
             Contains("at most 2000000000 values"));
  CHECK_THAT(sized(2'000'000'001, 1, 1),
             Contains("dims.lat: expected a whole number from 1 to 2000000000"));
  CHECK_THAT(sized(40'000, 50'000, 1),
             Contains("says 12, but sst [lat 40000, lon 50000] has 2000000000 values"));
}

TEST_CASE("coordinates belong to a dimension, have its size, and rise or fall", "[manifest]") {
  const auto lat = [](const json& values) {
    return field([&](json& d) { d["coordinates"]["lat"]["values"] = values; });
  };
  CHECK(lat({60, 0, -60}) == "accepted");
  CHECK_THAT(lat({-60, 0}),
             Contains("coordinates.lat.values: expected 3 numbers, the size of lat, got 2"));
  CHECK_THAT(lat({-60, -60, 0}), Contains("only rise or only fall"));
  CHECK_THAT(lat({-60, 60, 0}), Contains("only rise or only fall"));
  CHECK_THAT(lat({-60, "0", 60}), Contains("list of numbers"));
  CHECK_THAT(field([](json& d) { d["coordinates"]["time"] = d["coordinates"]["lat"]; }),
             Contains("coordinates.time: not a dimension"));
  CHECK_THAT(field([](json& d) { d["coordinates"]["lat"].erase("units"); }),
             Contains("coordinates.lat.units: required"));
  CHECK_THAT(field([](json& d) { d["coordinates"]["lat"]["axis"] = "Y"; }),
             Contains("coordinates.lat.axis: unknown key"));
}

TEST_CASE("hybrid coefficients are those of the levels", "[manifest]") {
  const auto with = [](const char* key, const json& value) {
    return memory([&](json& d) { d["hybrid"][key] = value; });
  };
  const Manifest m = climlink::parse_manifest(read("memory.json").dump(), "file.pt");
  CHECK((m.vertical_grid.p0_pa == 1e5 && m.vertical_grid.hyai.size() == 5));
  CHECK(m.vertical_grid.hybi == std::vector{0.0, 0.25, 0.5, 0.75, 1.0});
  CHECK(memory([](json& d) { d["hybrid"] = nullptr; }) == "accepted");
  CHECK_THAT(memory([](json& d) { d.erase("hybrid"); }), Contains("hybrid: required"));
  CHECK_THAT(with("p0_pa", 0), Contains("hybrid.p0_pa: expected a positive number"));
  for (const char* key : {"hyai", "hybi"})
    CHECK_THAT(with(key, {0, 1, 2, 3}), Contains("expected 5 numbers, got 4"));
  for (const char* key : {"hyam", "hybm"})
    CHECK_THAT(with(key, {0, 1, 2, 3, 4}), Contains("expected 4 numbers, got 5"));
  CHECK_THAT(with("hybi", {0, "0", 0, 0, 1}), Contains("hybrid.hybi: expected a list of numbers"));
  CHECK_THAT(with("colour", 1), Contains("hybrid.colour: unknown key"));
  // Whether pressures rise downward is asked by who remaps to these levels.
  CHECK(with("hybi", {1, 0.75, 0.5, 0.25, 0}) == "accepted");
  CHECK_THAT(field([](json& d) { d["hybrid"] = read("memory.json")["hybrid"]; }),
             Contains("expected null, as there is no dimension level"));
}

TEST_CASE("carried pairs and start are read by role", "[manifest]") {
  for (const char* name : {"memory.json", "memory_bare.json"}) {
    CAPTURE(name);
    const Manifest m = climlink::parse_manifest(read(name).dump(), "file.pt");
    REQUIRE(m.carried.size() == 2);
    CHECK(m.outputs.variables[m.carried[0].output].name == "memory_next");
    CHECK(m.inputs.variables[m.carried[0].input].name == "memory");
    CHECK(m.inputs.variables[m.carried[0].input].role == VariableRole::carried);
    REQUIRE(m.start);
    CHECK(m.inputs.variables[*m.start].name == "start");
    CHECK(
        (m.golden.sample_count == 6 && m.golden.step_count == 3 && m.golden.sequence_count() == 2));
    CHECK(m.golden.chained_tolerance == 1e-6);
  }
}

// Inputs of memory.json: forcing, slope, memory, start, total. Outputs: tendency, trust,
// memory_next, total_next.
TEST_CASE("the two of a carried pair have equal dims and units, and each variable is in one",
          "[manifest]") {
  CHECK_THAT(memory([](json& d) {
               d["carried"][0]["input"] = "total", d["carried"][1]["input"] = "memory";
             }),
             Contains("carried[0].input: total is [], memory_next [level 4]: the two of a pair "
                      "have the same dims"));
  CHECK_THAT(memory([](json& d) { d["inputs"]["variables"][2]["units"] = "kg"; }),
             Contains("carried[0].input: memory has units \"kg\", memory_next \"1\""));
  CHECK_THAT(memory([](json& d) { d["carried"][1] = d["carried"][0]; }),
             Contains("carried[1].output: memory_next stands in two pairs"));
  CHECK_THAT(memory([](json& d) { d["carried"][1]["input"] = "memory"; }),
             Contains("carried[1].input: memory stands in two pairs"));
  CHECK_THAT(memory([](json& d) { d["carried"].erase(1); }),
             Contains("the output total_next has role carried, but stands in no pair"));
  CHECK_THAT(
      memory([](json& d) { d["carried"][0]["input"] = "memori"; }),
      Contains("carried[0].input: \"memori\" is not an input of role carried. Near names: memory"));
  CHECK_THAT(memory([](json& d) { d["carried"][0]["input"] = "forcing"; }),
             Contains("\"forcing\" is not an input of role carried"));
  CHECK_THAT(memory([](json& d) { d["carried"][0]["output"] = "tendency"; }),
             Contains("\"tendency\" is not an output of role carried"));
  CHECK_THAT(memory([](json& d) { d["carried"][0]["steps"] = 2; }),
             Contains("carried[0].steps: unknown key"));
  CHECK_THAT(
      memory([](json& d) {
        d["difference_scale"]["memory_next"] = json(std::vector<double>(4, 1.0));
      }),
      Contains("difference_scale.memory_next: expected [1.0] for an output of role carried"));
}

TEST_CASE("start exists if and only if something is carried", "[manifest]") {
  const auto no_pairs = [](json& d) {
    d["carried"] = json::array();
    d["golden"]["step_count"] = 1, d["golden"]["chained_tolerance"] = nullptr;
    for (const char* row : {"inputs", "outputs"}) {
      for (auto& v : d[row]["variables"]) {
        if (v.value("role", "") != "start") v["role"] = "value";
      }
    }
  };
  CHECK_THAT(memory([](json& d) { d["inputs"]["variables"][3]["role"] = "value"; }),
             Contains("start has role value, units \"1\" and dims []: expected"));
  CHECK_THAT(memory([](json& d) {
               d["inputs"]["variables"][3]["role"] = "value",
               d["inputs"]["variables"][3]["name"] = "begin";
             }),
             Contains("variables are carried, but no input has role start"));
  CHECK_THAT(memory(no_pairs), Contains("start is there, but nothing is carried"));
  const auto renamed = [](json& d) {
    d["inputs"]["variables"][3]["role"] = "value", d["inputs"]["variables"][3]["name"] = "begin";
  };
  CHECK(memory([&](json& d) { no_pairs(d), renamed(d); }) == "accepted");
  CHECK_THAT(
      memory([](json& d) { d["inputs"]["variables"][1]["role"] = "start"; }),
      Contains("slope has role start") && Contains("expected one input with name and role start"));
  CHECK_THAT(memory([](json& d) { d["inputs"]["variables"][3]["name"] = "begin"; }),
             Contains("begin has role start"));
  CHECK_THAT(memory([](json& d) { d["inputs"]["variables"][3]["units"] = "s"; }),
             Contains("start has role start, units \"s\""));
  CHECK_THAT(memory([](json& d) { d["outputs"]["variables"][0]["role"] = "start"; }),
             Contains("outputs.variables[0].role"));
  CHECK_THAT(memory([](json& d) { d["inputs"]["variables"][0]["role"] = "memory"; }),
             Contains("inputs.variables[0].role: expected one of"));
}

TEST_CASE("outputs stand in the order value, confidence, carried", "[manifest]") {
  CHECK_THAT(memory([](json& d) {
               d["outputs"]["variables"][0]["role"] = "confidence",
               d["outputs"]["variables"][1]["role"] = "value";
             }),
             Contains("outputs: trust (value) stands behind tendency (confidence); the order is "
                      "value, confidence, carried"));
  CHECK_THAT(memory([](json& d) {
               d["inputs"]["variables"][0]["role"] = "carried",
               d["outputs"]["variables"][0]["role"] = "carried";
               d["carried"].push_back({{"output", "tendency"}, {"input", "forcing"}});
             }),
             Contains("trust (confidence) stands behind tendency (carried)"));
}

TEST_CASE("variables have names, and the first output is a value", "[manifest]") {
  CHECK_THAT(field([](json& d) { d["inputs"]["variables"][0]["name"] = ""; }),
             Contains("inputs.variables[0].name: expected a text of at"));
  CHECK_THAT(field([](json& d) {
               for (auto& v : d["outputs"]["variables"])
                 v["role"] = "confidence", d["difference_scale"][v["name"]] = {1.0};
             }),
             Contains("outputs: expected a variable of role value first"));
}

TEST_CASE("golden sequences are whole, and only carried state has them", "[manifest]") {
  CHECK_THAT(memory([](json& d) { d["golden"]["step_count"] = 4; }),
             Contains("golden.sample_count: expected a multiple of step_count 4, got 6"));
  CHECK_THAT(memory([](json& d) { d["golden"]["chained_tolerance"] = nullptr; }),
             Contains("golden.chained_tolerance: expected a number"));
  CHECK_THAT(memory([](json& d) { d["golden"].erase("chained_tolerance"); }),
             Contains("golden.chained_tolerance: expected a number"));
  CHECK_THAT(memory([](json& d) { d["golden"]["chained_tolerance"] = 0; }),
             Contains("golden.chained_tolerance: expected a positive number"));
  CHECK_THAT(memory([](json& d) { d["golden"]["step_count"] = 1; }),
             Contains("golden.step_count: expected 2 or more"));
  CHECK_THAT(field([](json& d) { d["golden"]["step_count"] = 3; }),
             Contains("golden.step_count: expected 1, as nothing is carried"));
  CHECK_THAT(field([](json& d) { d["golden"]["chained_tolerance"] = 1e-6; }),
             Contains("expected null, as nothing is carried"));
}
