#include "manifest.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "error.hpp"
#include "json_record.hpp"
#include "manifest_json.hpp"
#include "manifest_rows.hpp"
#include "sha256.hpp"

namespace climlink {
namespace {

// Far above what any kernel needs to give the same bits, and small enough that a forward of so many
// rows fits memory.
constexpr std::int64_t largest_granule = 1024;

// Keys of which the runtime acts on nothing: Python checks them where a package is made.
constexpr std::array descriptive_keys = {
    "calendar",      "network_inputs",  "network_outputs",       "pruned_levels",
    "normalization", "constants",       "architecture",          "operators",
    "provenance",    "training_ranges", "training_distribution", "reduced_precision"};

// The scale of one output. What a network says of itself or to itself is of order one.
std::vector<double> read_scale(JsonRecord& record, const Variable& v) {
  auto values = record.numbers(v.name);
  if (v.role != VariableRole::value && values != std::vector{1.0})
    record.problem(v.name, text("expected [1.0] for an output of role ", role_text(v.role)));
  const auto count = static_cast<std::int64_t>(values.size());
  const bool positive = std::all_of(values.begin(), values.end(), [](double s) { return s > 0; });
  if ((count != 1 && count != v.width) || !positive) {
    record.problem(v.name, text("expected 1 or ", v.width, " positive numbers, got ", count,
                                positive ? " numbers" : ", not all positive"));
  }
  return values;
}

std::vector<std::vector<double>> read_scales(JsonRecord record, const Layout& outputs) {
  std::vector<std::vector<double>> scales;
  for (const auto& v : outputs.variables) scales.push_back(read_scale(record, v));
  record.finish();
  return scales;
}

Tolerance read_tolerance(JsonRecord record) {
  Tolerance t;
  t.backend = record.choice("backend", {"torchscript", "aotinductor"});
  t.device = record.choice("device", {"cpu", "cuda"});
  t.precision = record.choice("precision", {"float32", "bfloat16"});
  t.value = record.positive("tolerance");
  record.finish();
  return t;
}

std::vector<Tolerance> read_tolerances(JsonRecord& root) {
  std::vector<Tolerance> tolerances;
  std::set<std::string> seen;
  for (const auto& entry : root.records("tolerances")) {
    tolerances.push_back(read_tolerance(entry));
    const auto& t = tolerances.back();
    const std::string where = t.backend + "/" + t.device + "/" + t.precision;
    if (!seen.insert(where).second) root.problem("tolerances", where + " occurs twice");
  }
  if (tolerances.empty()) root.problem("tolerances", "expected at least one");
  return tolerances;
}

std::string read_digest(JsonRecord& record, const std::string& key) {
  std::string digest = record.string(key);
  if (!is_sha256_hex(digest) || digest != lower_case(digest))
    record.problem(key, "expected 64 lower-case hexadecimal digits, got \"" + digest + "\"");
  return digest;
}

// Where something is carried the golden rows are sequences of several steps, which are also run in
// a chain.
void check_sequences(const JsonRecord& record, const Golden& golden, bool carried) {
  const bool chained = golden.chained_tolerance != 0;
  if (carried != (golden.step_count > 1))
    record.problem("step_count", carried ? "expected 2 or more, as variables are carried"
                                         : "expected 1, as nothing is carried");
  if (carried != chained)
    record.problem("chained_tolerance", carried ? "expected a number, as variables are carried"
                                                : "expected null, as nothing is carried");
  if (golden.sample_count % golden.step_count != 0)
    record.problem("sample_count", text("expected a multiple of step_count ", golden.step_count,
                                        ", got ", golden.sample_count));
}

Golden read_golden(JsonRecord record, bool carried) {
  Golden golden;
  golden.sample_count = record.integer("sample_count", 2);
  if (record.has("step_count")) golden.step_count = record.integer("step_count", 1);
  if (record.has("chained_tolerance") && !record.is_null("chained_tolerance"))
    golden.chained_tolerance = record.positive("chained_tolerance");
  golden.inputs_sha256 = read_digest(record, "inputs_sha256");
  golden.outputs_sha256 = read_digest(record, "outputs_sha256");
  record.optional_ignore("sensitivity");  // the tolerances already hold it
  check_sequences(record, golden, carried);
  record.finish();
  return golden;
}

// The names of the constraints in their order; their parameters are the graph's.
std::vector<std::string> read_constraints(JsonRecord& root) {
  std::vector<std::string> names;
  for (auto& constraint : root.records("constraints")) names.push_back(constraint.string("name"));
  return names;
}

std::vector<std::string> read_precisions(JsonRecord& root) {
  auto precisions = root.strings("allowed_precisions");
  for (const auto& p : precisions) {
    if (p != "float32" && p != "bfloat16")
      root.problem("allowed_precisions", "expected \"float32\" or \"bfloat16\", got \"" + p + "\"");
  }
  if (precisions.empty()) root.problem("allowed_precisions", "expected at least one");
  return precisions;
}

std::int64_t read_granule(JsonRecord& root) {
  const std::int64_t granule = root.integer("batch_granule", 1);
  if (granule > largest_granule)
    root.problem("batch_granule", text("expected at most ", largest_granule, ", got ", granule));
  return granule;
}

Manifest read_manifest(JsonRecord root, std::string text_of_manifest) {
  Manifest m;
  m.json = std::move(text_of_manifest);
  root.ignore("schema_version");
  m.name = root.string("name");
  if (m.name.empty()) root.problem("name", "expected a text of at least one character");
  read_rows(root, m);
  m.batch_granule = read_granule(root);
  if (!root.is_null("time_step_s")) m.time_step_s = root.positive("time_step_s");
  m.difference_scale = read_scales(root.record("difference_scale"), m.outputs);
  m.allowed_precisions = read_precisions(root);
  m.tolerances = read_tolerances(root);
  root.positive("same_kernels_tolerance");
  m.golden = read_golden(root.record("golden"), !m.carried.empty());
  if (root.has("imported") && !root.is_null("imported"))
    m.host_postprocessing =
        root.record("imported").choice("host_postprocessing", {"none", "legacy"});
  if (!root.is_null("constraints")) m.constraints = read_constraints(root);
  for (const char* key : descriptive_keys) root.optional_ignore(key);
  root.finish();
  return m;
}

}  // namespace

const char* role_text(VariableRole role) noexcept {
  constexpr std::array texts = {"value", "confidence", "carried", "start"};
  return texts[static_cast<std::size_t>(role)];
}

std::string Variable::position_text(std::int64_t position, const Wording& words) const {
  std::string result;
  for (std::size_t d = dims.size(); d-- > 0; position /= sizes[d]) {
    result =
        text(dims[d], " ", words.counted(position % sizes[d]), result.empty() ? "" : ", ", result);
  }
  return result;
}

std::int64_t Layout::find(std::string_view name) const {
  const auto found = std::find_if(variables.begin(), variables.end(),
                                  [&](const Variable& v) { return v.name == name; });
  return found == variables.end() ? -1 : found - variables.begin();
}

const Variable& Layout::owner(std::int64_t position) const {
  return *std::find_if(variables.begin(), variables.end(),
                       [&](const Variable& v) { return position < v.offset + v.width; });
}

std::vector<std::string_view> Layout::names() const {
  std::vector<std::string_view> result;
  for (const auto& v : variables) result.emplace_back(v.name);
  return result;
}

std::int64_t Manifest::dim_size(std::string_view dim) const {
  const auto found = dims.find(dim);
  return found == dims.end() ? 0 : found->second;
}

double Manifest::tolerance(std::string_view backend, std::string_view device,
                           std::string_view precision) const {
  for (const auto& t : tolerances) {
    if (t.backend == backend && t.device == device && t.precision == precision) return t.value;
  }
  if (backend == "aotinductor" && precision == "float32")
    return tolerance("torchscript", device, precision);
  fail(CLIMLINK_ERROR_GOLDEN, "the manifest of ", name, " declares no tolerance for ", backend, "/",
       device, "/", precision,
       ", so its golden columns cannot be judged there. Export it with one, or choose another "
       "device");
}

Manifest parse_manifest(std::string json_text, const std::string& origin) {
  const auto document = parse_manifest_json(json_text, origin);
  try {
    return read_manifest(JsonRecord(document, ""), std::move(json_text));
  } catch (const JsonProblem& problem) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": the manifest is not valid: ", problem.what(),
         ". Export the package again");
  }
}

}  // namespace climlink
