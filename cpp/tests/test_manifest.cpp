// The strict reader of the manifest: every rule is broken once, on the manifest that the Python
// reader has accepted.
#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "manifest.hpp"
#include "support.hpp"

using Catch::Matchers::Contains;
using climlink::Error;
using climlink::Manifest;
using nlohmann::json;

namespace {

json good() { return json::parse(support::read_bytes(support::fixture("manifest.json"))); }

Manifest parse(const json& document) {
  return climlink::parse_manifest(document.dump(), "file.pt");
}

// The message of refusing text; every refusal is SCHEMA and names the file.
std::string refusal(const std::string& text) {
  try {
    climlink::parse_manifest(text, "file.pt");
  } catch (const Error& error) {
    CHECK(error.status() == CLIMLINK_ERROR_SCHEMA);
    CHECK_THAT(error.what(), Contains("file.pt"));
    return error.what();
  }
  return "accepted";
}

std::string refusal(const std::function<void(json&)>& edit) {
  json document = good();
  edit(document);
  return refusal(document.dump());
}

}  // namespace

TEST_CASE("a good manifest is read", "[manifest]") {
  const Manifest m = parse(good());
  CHECK(m.name == "fixture");
  CHECK(m.dim_size("level") == 4);
  CHECK(m.dim_size("lat") == 0);
  CHECK(m.batch_granule == 16);
  CHECK(m.time_step_s == 1200.0);
  CHECK(m.inputs.width == 9);
  REQUIRE(m.inputs.variables.size() == 3);
  CHECK(m.inputs.variables[1].name == "state_q0001");
  CHECK(m.inputs.variables[1].units == "kg/kg");
  CHECK(m.inputs.variables[1].offset == 4);
  CHECK(m.inputs.find("state_ps") == 2);
  CHECK(m.inputs.find("nothing") == -1);
  CHECK(m.inputs.owner(7).name == "state_q0001");
  CHECK(m.inputs.owner(8).name == "state_ps");
  CHECK(m.outputs.width == 5);
  CHECK(m.difference_scale ==
        std::vector<std::vector<double>>{std::vector<double>(4, 0.01), {0.01}});
  CHECK((m.golden.sample_count == 4 && m.golden.step_count == 1 && m.golden.sequence_count() == 4));
  CHECK((m.carried.empty() && !m.start));
  CHECK(m.tolerance("torchscript", "cpu", "float32") == 2e-5);
  CHECK_THROWS_WITH(m.tolerance("torchscript", "cuda", "bfloat16"),
                    Contains("torchscript/cuda/bfloat16"));
}

TEST_CASE("keys with a default may be left out", "[manifest]") {
  json document = good();
  for (const char* key : {"calendar", "training_ranges", "imported", "coordinates", "carried"})
    document.erase(key);
  for (const char* key : {"step_count", "chained_tolerance", "sensitivity"})
    document["golden"].erase(key);
  for (auto& v : document["inputs"]["variables"]) v.erase("role"), v.erase("lag");
  CHECK(parse(document).outputs.width == 5);
}

TEST_CASE("confidence is an output with a role, its scale 1", "[manifest]") {
  const auto trusting = [](json& d) {
    d["outputs"]["width"] = 6;
    d["outputs"]["variables"].push_back({{"name", "trust"},
                                         {"units", "1"},
                                         {"long_name", ""},
                                         {"dims", json::array()},
                                         {"width", 1},
                                         {"offset", 5},
                                         {"lag", 0},
                                         {"role", "confidence"}});
    d["difference_scale"]["trust"] = {1.0};
  };
  json document = good();
  trusting(document);
  const Manifest m = parse(document);
  CHECK(m.outputs.variables[2].role == climlink::VariableRole::confidence);
  CHECK_THAT(refusal([&](json& d) { trusting(d), d["difference_scale"]["trust"] = {2.0}; }),
             Contains("difference_scale.trust: expected [1.0] for an output of role confidence"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][0]["role"] = "confidence"; }),
             Contains("inputs.variables[0].role"));
}

TEST_CASE("a newer schema is called newer, whatever else it holds", "[manifest]") {
  CHECK_THAT(refusal(R"({"schema_version": 3, "all": "new"})"),
             Contains("newer") && Contains("update climlink"));
  CHECK_THAT(refusal(R"({"schema_version": 1, "all": "old"})"),
             Contains("manifest schema 1 is older") &&
                 Contains("climlink export RUN --output FILE") && Contains("climlink import"));
  CHECK_THAT(refusal(R"({"schema_version": 0})"), Contains("does not exist"));
  CHECK_THAT(refusal(R"({"schema_version": "1"})"), Contains("no integer schema_version"));
  CHECK_THAT(refusal(R"({"schema_version": true})"), Contains("no integer schema_version"));
  CHECK_THAT(refusal("{}"), Contains("no integer schema_version"));
  CHECK_THAT(refusal("[]"), Contains("no integer schema_version"));
  CHECK_THAT(refusal(""), Contains("not JSON"));
  CHECK_THAT(refusal("{\"schema_version\": 1,"), Contains("not JSON"));
  CHECK_THAT(refusal("{\"schema_version\": NaN}"), Contains("not JSON"));
  CHECK_THAT(refusal(R"({"schema_version": 1, "schema_version": 1})"), Contains("stands twice"));
}

TEST_CASE("every key that the runtime acts on is missed by name, and every unknown one refused",
          "[manifest]") {
  for (const char* key : {"name", "dims", "inputs", "outputs", "batch_granule", "difference_scale",
                          "allowed_precisions", "tolerances", "same_kernels_tolerance", "golden",
                          "time_step_s", "constraints"}) {
    CAPTURE(key);
    CHECK_THAT(refusal([&](json& d) { d.erase(key); }), Contains(key) && Contains("missing"));
  }
  for (const char* key : {"name", "units", "long_name", "dims", "width", "offset"}) {
    CAPTURE(key);
    CHECK_THAT(refusal([&](json& d) { d["inputs"]["variables"][1].erase(key); }),
               Contains(std::string("inputs.variables[1].") + key) && Contains("missing"));
  }
  CHECK_THAT(refusal([](json& d) { d["colour"] = 1; }),
             Contains("colour") && Contains("unknown key"));
  CHECK_THAT(refusal([](json& d) { d["level_count"] = 4; }),
             Contains("level_count") && Contains("unknown key"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["colour"] = 1; }), Contains("golden.colour"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][1]["colour"] = 1; }),
             Contains("inputs.variables[1].colour"));
}

TEST_CASE("what the runtime does not act on may be anything or absent", "[manifest]") {
  for (const char* key :
       {"normalization", "architecture", "provenance", "training_ranges", "network_inputs",
        "network_outputs", "constants", "operators", "pruned_levels", "calendar"}) {
    CAPTURE(key);
    for (const json& anything :
         {json(nullptr), json(3), json("a"), json{{"of", "a later climlink"}}}) {
      json document = good();
      document[key] = anything;
      CHECK(parse(document).name == "fixture");
    }
    json document = good();
    document.erase(key);
    CHECK(parse(document).name == "fixture");
  }
  json document = good();
  document["golden"]["sensitivity"] = "any";
  document["constraints"][0]["parameters"] = {1, 2};
  CHECK(parse(document).constraints == std::vector<std::string>{"scale"});
}

TEST_CASE("layouts must be contiguous, without repetition, and of the right widths", "[manifest]") {
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][1]["offset"] = 5; }),
             Contains("state_q0001 starts at 5, expected 4"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["width"] = 10; }),
             Contains("inputs.width") && Contains("fill 9"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][1]["name"] = "state_t"; }),
             Contains("state_t occurs twice"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][0]["width"] = 3; }),
             Contains("says 3, but state_t [level 4] has 4 values"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"] = json::array(); }),
             Contains("at least one variable"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["width"] = 0; }),
             Contains("whole number from 1"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["width"] = 1e300; }),
             Contains("whole number from 1"));
  CHECK_THAT(
      refusal([](json& d) { d["outputs"]["variables"][0]["width"] = 18446744073709551615ULL; }),
      Contains("whole number from 1"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"] = 3; }), Contains("list of objects"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["units"] = 3; }),
             Contains("expected a text"));
}

TEST_CASE("a time step is a number above 0, or null", "[manifest]") {
  CHECK_THAT(refusal([](json& d) { d["time_step_s"] = 0; }),
             Contains("time_step_s: expected a positive number"));
  CHECK_THAT(refusal([](json& d) { d["time_step_s"] = "1200"; }),
             Contains("time_step_s: expected a positive number"));
  json document = good();
  document["time_step_s"] = nullptr;
  CHECK(parse(document).time_step_s == 0.0);
}

TEST_CASE("difference scales and tolerances must be complete and unique", "[manifest]") {
  json document = good();
  document["difference_scale"]["ptend_t"] = {0.5};
  CHECK(parse(document).difference_scale[0] == std::vector<double>{0.5});
  CHECK_THAT(refusal([](json& d) { d["difference_scale"].erase("ptend_t"); }),
             Contains("difference_scale.ptend_t: required"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["ptend_t"][2] = 0; }),
             Contains("not all positive"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["ptend_t"].push_back(1); }),
             Contains("expected 1 or 4 positive numbers, got 5"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["ptend_t"] = json::array(); }),
             Contains("got 0 numbers"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["ptend_t"] = 1.0; }),
             Contains("expected a list of numbers"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["other"] = {1}; }),
             Contains("difference_scale.other"));
  CHECK_THAT(refusal([](json& d) { d["tolerances"].push_back(d["tolerances"][0]); }),
             Contains("occurs twice"));
  CHECK_THAT(refusal([](json& d) { d["tolerances"] = json::array(); }), Contains("at least one"));
  CHECK_THAT(refusal([](json& d) { d["tolerances"][0]["device"] = "tpu"; }),
             Contains("tolerances[0].device"));
  CHECK_THAT(refusal([](json& d) { d["allowed_precisions"] = {"float16"}; }),
             Contains("allowed_precisions"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["sample_count"] = 1; }),
             Contains("golden.sample_count"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["inputs_sha256"] = "12"; }),
             Contains("golden.inputs_sha256"));
  CHECK_THAT(refusal([](json& d) { d["batch_granule"] = 0; }),
             Contains("batch_granule: expected a whole number from 1"));
  CHECK_THAT(refusal([](json& d) { d["batch_granule"] = 1025; }),
             Contains("batch_granule: expected at most 1024"));
}

TEST_CASE("an imported graph may leave open what it does not say", "[manifest]") {
  const json imported = json::parse(support::read_bytes(support::fixture("imported.json")));
  CHECK(imported["constraints"].is_null());
  const Manifest m = parse(imported);
  CHECK((m.outputs.width == 5 && !m.constraints && m.host_postprocessing == "legacy"));
  const auto changed = [&](const std::function<void(json&)>& edit) {
    json document = imported;
    edit(document);
    return refusal(document.dump());
  };
  CHECK_THAT(changed([](json& d) { d["inputs"] = nullptr; }),
             Contains("inputs: expected an object"));
  CHECK_THAT(changed([](json& d) { d["imported"]["host_postprocessing"] = "some"; }),
             Contains("imported.host_postprocessing"));
  CHECK_THAT(changed([](json& d) { d["imported"].erase("host_postprocessing"); }),
             Contains("imported.host_postprocessing"));
  CHECK_THAT(changed([](json& d) { d["constraints"] = {{{"parameters", 1}}}; }),
             Contains("constraints[0].name"));
}
