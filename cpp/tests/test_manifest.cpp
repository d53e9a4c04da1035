// The strict reader of the manifest: every rule is broken once, on the manifest that the Python reader has accepted.
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

Manifest parse(const json& document) { return climlink::parse_manifest(document.dump(), "file.pt"); }

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
  CHECK(m.level_count == 4);
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
  CHECK(m.difference_scale == std::vector<double>(5, 0.01));
  CHECK(m.golden_count == 4);
  CHECK(m.tolerance("torchscript", "cpu", "float32") == 2e-5);
  CHECK_THROWS_WITH(m.tolerance("torchscript", "cuda", "float32"), Contains("torchscript/cuda/float32"));
}

TEST_CASE("keys with a default may be left out", "[manifest]") {
  json document = good();
  for (const char* key : {"kind", "confidence", "calendar", "training_ranges", "imported"}) document.erase(key);
  document["provenance"].erase("training");
  document["constraints"][0].erase("parameters");
  document["normalization"]["configuration"] = json::object();
  CHECK(parse(document).outputs.width == 5);
}

TEST_CASE("the confidence block follows the outputs under its own names", "[manifest]") {
  json document = good();
  document["confidence"] = document["network_outputs"];
  const Manifest m = parse(document);
  CHECK(m.outputs.width == 10);
  REQUIRE(m.outputs.variables.size() == 4);
  CHECK(m.outputs.variables[3].name == "confidence_cam_out_PRECC");
  CHECK(m.outputs.variables[3].offset == 9);
  CHECK(m.difference_scale[9] == 1.0);
  CHECK_THAT(refusal([](json& d) { d["confidence"] = d["inputs"]; }), Contains("layout of network_outputs"));
}

TEST_CASE("a newer schema is called newer, whatever else it holds", "[manifest]") {
  CHECK_THAT(refusal(R"({"schema_version": 2, "all": "new"})"), Contains("newer") && Contains("update climlink"));
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

TEST_CASE("every required key is missed by name, and every unknown one refused", "[manifest]") {
  const json base = good();
  for (const auto& [key, value] : base.items()) {
    if (key == "schema_version" || key == "kind" || key == "confidence" || key == "calendar" || key == "training_ranges" ||
        key == "imported")
      continue;
    CAPTURE(key);
    CHECK_THAT(refusal([&](json& d) { d.erase(key); }), Contains(key) && Contains("missing"));
  }
  CHECK_THAT(refusal([](json& d) { d["colour"] = 1; }), Contains("colour") && Contains("unknown key"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["colour"] = 1; }), Contains("golden.colour"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][1]["colour"] = 1; }), Contains("inputs.variables[1].colour"));
  CHECK_THAT(refusal([](json& d) { d["normalization"]["configuration"]["colour"] = 1; }), Contains("normalization.configuration.colour"));
}

TEST_CASE("layouts must be contiguous, without repetition, and of the right widths", "[manifest]") {
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][1]["offset"] = 5; }), Contains("state_q0001 starts at 5, expected 4"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["width"] = 10; }), Contains("inputs.width") && Contains("fill 9"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][1]["name"] = "state_t"; }), Contains("state_t occurs twice"));
  CHECK_THAT(refusal([](json& d) { d["inputs"]["variables"][0]["width"] = 3; }), Contains("neither 1 nor level_count"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"] = json::array(); }), Contains("at least one variable"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["width"] = 0; }), Contains("whole number from 1"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["width"] = 1e300; }), Contains("whole number from 1"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["width"] = 18446744073709551615ULL; }), Contains("whole number from 1"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"] = 3; }), Contains("list of objects"));
  CHECK_THAT(refusal([](json& d) { d["outputs"]["variables"][0]["units"] = 3; }), Contains("expected a text"));
}

TEST_CASE("level counts must agree", "[manifest]") {
  CHECK_THAT(refusal([](json& d) { d["level_count"] = 5; }), Contains("level_count 5"));
  CHECK_THAT(refusal([](json& d) { d["hybrid"]["hyai"] = {1, 2}; }), Contains("hybrid.hyai: expected 5 values"));
  CHECK_THAT(refusal([](json& d) { d["hybrid"]["hybm"] = "none"; }), Contains("list of numbers"));
  CHECK_THAT(refusal([](json& d) { d["pruned_levels"] = 5; }), Contains("pruned_levels"));
  CHECK_THAT(refusal([](json& d) { d["time_step_s"] = 0; }), Contains("time_step_s: expected a positive number"));
}

TEST_CASE("difference scales, ranges and tolerances must be complete and unique", "[manifest]") {
  CHECK_THAT(refusal([](json& d) { d["difference_scale"].erase("ptend_t"); }), Contains("difference_scale.ptend_t: required"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["ptend_t"][2] = 0; }), Contains("not all positive"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["ptend_t"].push_back(1); }), Contains("expected 4 positive numbers, got 5"));
  CHECK_THAT(refusal([](json& d) { d["difference_scale"]["other"] = {1}; }), Contains("difference_scale.other"));
  CHECK_THAT(refusal([](json& d) { d["training_ranges"]["state_ps"] = {{2}, {1}}; }), Contains("training_ranges.state_ps"));
  CHECK_THAT(refusal([](json& d) { d["training_ranges"]["state_t"] = {{2}, {3}}; }), Contains("4 values each"));
  CHECK_THAT(refusal([](json& d) { d["training_ranges"]["other"] = {{1}, {2}}; }), Contains("training_ranges.other"));
  CHECK_THAT(refusal([](json& d) { d["tolerances"].push_back(d["tolerances"][0]); }), Contains("occurs twice"));
  CHECK_THAT(refusal([](json& d) { d["tolerances"] = json::array(); }), Contains("at least one"));
  CHECK_THAT(refusal([](json& d) { d["tolerances"][0]["device"] = "tpu"; }), Contains("tolerances[0].device"));
  CHECK_THAT(refusal([](json& d) { d["allowed_precisions"] = {"float16"}; }), Contains("allowed_precisions"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["column_count"] = 1; }), Contains("golden.column_count"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["inputs_sha256"] = "12"; }), Contains("golden.inputs_sha256"));
  CHECK_THAT(refusal([](json& d) { d["golden"]["sensitivity"] = 0; }), Contains("golden.sensitivity"));
  CHECK_THAT(refusal([](json& d) { d["kind"] = "field"; }), Contains("kind"));
  CHECK_THAT(refusal([](json& d) { d["normalization"]["configuration"]["cloud_transform"] = "yes"; }), Contains("true or false"));
}

TEST_CASE("an imported graph may leave open what it does not say, and only that", "[manifest]") {
  const auto open_keys = {"network_inputs", "network_outputs", "hybrid",    "pruned_levels",
                          "normalization",  "constraints",     "constants", "architecture"};
  const json imported = json::parse(support::read_bytes(support::fixture("imported.json")));
  for (const char* key : open_keys) CHECK(imported[key].is_null());
  CHECK(parse(imported).outputs.width == 5);
  json sensitive = imported;
  sensitive["golden"]["sensitivity"] = 4e-3;
  CHECK(parse(sensitive).golden_count == 4);
  for (const char* key : open_keys) {
    CAPTURE(key);
    CHECK_THAT(refusal([&](json& d) { d[key] = nullptr; }), Contains(key) && Contains("only an imported package"));
  }
  const auto changed = [&](const std::function<void(json&)>& edit) {
    json document = imported;
    edit(document);
    return refusal(document.dump());
  };
  CHECK_THAT(changed([](json& d) { d["inputs"] = nullptr; }), Contains("inputs: expected an object"));
  CHECK_THAT(changed([](json& d) { d["hybrid"] = json::object(); }), Contains("hybrid.p0_pa"));
  CHECK_THAT(changed([](json& d) { d["confidence"] = d["outputs"]; }), Contains("layout of network_outputs"));
  CHECK_THAT(changed([](json& d) { d["imported"]["golden_source"] = "invented"; }), Contains("imported.golden_source"));
  CHECK_THAT(changed([](json& d) { d["imported"]["host_postprocessing"] = "some"; }), Contains("imported.host_postprocessing"));
  CHECK_THAT(changed([](json& d) { d["imported"]["sha256"] = "12"; }), Contains("imported.sha256"));
  CHECK_THAT(changed([](json& d) { d["imported"]["file"] = ""; }), Contains("imported.file"));
  CHECK_THAT(changed([](json& d) { d["imported"]["input_copied"] = 1; }), Contains("imported.input_copied"));
  CHECK_THAT(changed([](json& d) { d["imported"]["findings"] = {1}; }), Contains("imported.findings"));
  CHECK_THAT(changed([](json& d) { d["imported"]["colour"] = 1; }), Contains("imported.colour"));
}
