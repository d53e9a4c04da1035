#include "manifest.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "error.hpp"
#include "json_record.hpp"
#include "sha256.hpp"

namespace climlink {
namespace {

using nlohmann::json;

Variable read_variable(JsonRecord record) {
  Variable v;
  v.name = record.string("name");
  v.units = record.string("units");
  record.string("long_name");
  v.width = record.integer("width", 1);
  v.offset = record.integer("offset", 0);
  record.integer("lag", 0);
  record.finish();
  return v;
}

Layout read_layout(JsonRecord record, std::int64_t level_count) {
  Layout layout;
  record.string("set");
  layout.width = record.integer("width", 1);
  std::set<std::string> seen;
  std::int64_t position = 0;
  for (const auto& entry : record.records("variables")) {
    Variable v = read_variable(entry);
    if (!seen.insert(v.name).second) record.problem("variables", text(v.name, " occurs twice"));
    if (v.offset != position)
      record.problem("variables", text(v.name, " starts at ", v.offset, ", expected ", position, ": offsets are contiguous"));
    if (v.width != 1 && v.width != level_count) {
      record.problem("variables", text(v.name, " has width ", v.width, ", neither 1 nor level_count ", level_count));
    }
    if (v.width > 1) {
      v.dims = {"level"};
      v.sizes = {v.width};
    }
    position += v.width;
    layout.variables.push_back(std::move(v));
  }
  if (layout.variables.empty()) record.problem("variables", "expected at least one variable");
  if (position != layout.width) record.problem("width", text("says ", layout.width, ", but the variables fill ", position));
  record.finish();
  return layout;
}

// Appends the confidence block behind the outputs. It speaks about the network's outputs, whose names may be those of host outputs, so its
// variables are read under "confidence_" + name. Its own offsets start at 0.
void append_confidence(Manifest& m, const Layout& confidence) {
  for (Variable v : confidence.variables) {
    v.name = "confidence_" + v.name;
    v.offset += m.outputs.width;
    m.outputs.variables.push_back(std::move(v));
  }
  m.outputs.width += confidence.width;
  m.difference_scale.resize(static_cast<std::size_t>(m.outputs.width), 1.0);  // confidence is dimensionless and of order one
}

void check_hybrid(JsonRecord record, std::int64_t level_count) {
  record.positive("p0_pa");
  const auto check = [&](const char* key, std::int64_t expected) {
    const auto got = static_cast<std::int64_t>(record.numbers(key).size());
    if (got != expected) record.problem(key, text("expected ", expected, " values for level_count ", level_count, ", got ", got));
  };
  check("hyam", level_count);
  check("hybm", level_count);
  check("hyai", level_count + 1);
  check("hybi", level_count + 1);
  record.finish();
}

// [minimum [width], maximum [width]] of some or all inputs.
void check_training_ranges(JsonRecord ranges, const Layout& inputs) {
  for (const auto& v : inputs.variables) {
    if (!ranges.has(v.name)) continue;
    const auto [minimum, maximum] = ranges.number_pair(v.name);
    const auto width = static_cast<std::size_t>(v.width);
    bool ordered = minimum.size() == width && maximum.size() == width;
    for (std::size_t i = 0; ordered && i < width; ++i) ordered = minimum[i] <= maximum[i];
    if (!ordered) ranges.problem(v.name, text("expected [minimum, maximum] of ", width, " values each, none above its maximum"));
  }
  ranges.finish();
}

std::vector<double> read_scale(JsonRecord record, const Layout& outputs) {
  std::vector<double> scale;
  scale.reserve(static_cast<std::size_t>(outputs.width));
  for (const auto& v : outputs.variables) {
    const auto values = record.numbers(v.name);
    const bool positive = std::all_of(values.begin(), values.end(), [](double s) { return s > 0; });
    if (static_cast<std::int64_t>(values.size()) != v.width || !positive) {
      record.problem(v.name,
                     text("expected ", v.width, " positive numbers, got ", values.size(), positive ? " numbers" : ", not all positive"));
    }
    scale.insert(scale.end(), values.begin(), values.end());
  }
  record.finish();
  return scale;
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

void read_golden(JsonRecord record, Manifest& m) {
  m.golden_count = record.integer("column_count", 2);
  m.golden_inputs_sha256 = read_digest(record, "inputs_sha256");
  m.golden_outputs_sha256 = read_digest(record, "outputs_sha256");
  // The tolerances already hold it.
  if (record.has("sensitivity") && !record.is_null("sensitivity")) record.positive("sensitivity");
  record.finish();
}

void check_normalization(JsonRecord record) {
  read_digest(record, "statistics_digest");
  read_digest(record, "buffers_digest");
  auto configuration = record.record("configuration");
  const auto choice = [&](const char* key, const std::vector<std::string>& allowed) {
    if (configuration.has(key)) configuration.choice(key, allowed);
  };
  choice("scheme", {"range", "moments"});
  choice("fill_policy", {"flag", "published"});
  choice("nonfinite_policy", {"propagate", "zero"});
  choice("zero_variance_policy", {"zero"});
  choice("lagged_clip", {"range", "none"});
  choice("output_center", {"zero", "mean"});
  for (const char* key : {"cloud_transform", "denormalize_float64"}) {
    if (configuration.has(key)) configuration.boolean(key);
  }
  configuration.finish();
  record.finish();
}

// Keys that are null where an imported graph does not say; every other manifest has them.
constexpr std::array unknown_keys = {"network_inputs", "network_outputs", "hybrid",    "pruned_levels",
                                     "normalization",  "constraints",     "constants", "architecture"};

// Whether such a key is left open; elsewhere its value is read and a null refused by its own rule.
bool unknown(JsonRecord& root, const char* key) { return root.has("imported") && !root.is_null("imported") && root.is_null(key); }

void refuse_unknown(JsonRecord& root) {
  if (root.has("imported") && !root.is_null("imported")) return;
  for (const char* key : unknown_keys) {
    if (root.is_null(key)) root.problem(key, "is null, which only an imported package (key imported) may say");
  }
}

// Returns what the graph asks of the host.
std::string read_imported(JsonRecord record) {
  if (record.string("file").empty()) record.problem("file", "expected a text of at least one character");
  read_digest(record, "sha256");
  record.integer("parameter_count", 0);
  record.choice("golden_source", {"store", "pairs", "synthetic"});
  record.boolean("input_copied");
  record.strings("findings");
  std::string host_postprocessing = record.choice("host_postprocessing", {"none", "legacy"});
  record.finish();
  return host_postprocessing;
}

// Returns the names of the constraints.
std::vector<std::string> read_constraints(JsonRecord& root) {
  std::vector<std::string> names;
  for (auto& constraint : root.records("constraints")) {
    names.push_back(constraint.string("name"));
    if (constraint.has("parameters")) constraint.object("parameters");
    constraint.finish();
  }
  return names;
}

void check_architecture(JsonRecord record) {
  record.string("name");
  record.object("configuration");
  record.integer("trainable_parameters", 0);
  record.finish();
}

// Parts that describe the network and its making. The runtime does not act on them, but a package with a broken one is refused here
// as Python refuses it.
void check_description(JsonRecord& root) {
  if (!unknown(root, "normalization")) check_normalization(root.record("normalization"));
  if (!unknown(root, "architecture")) check_architecture(root.record("architecture"));
  auto provenance = root.record("provenance");
  for (const char* key : {"climlink_version", "torch_version", "exported_on"}) provenance.string(key);
  for (const char* key : {"git_revision", "data_digest", "seed"}) provenance.ignore(key);
  provenance.optional_ignore("training");
  provenance.finish();
  if (!unknown(root, "constants")) root.object("constants");
  root.strings("operators");
  root.positive("same_kernels_tolerance");
  if (root.has("calendar")) root.string("calendar");
}

std::vector<std::string> read_precisions(JsonRecord& root) {
  auto precisions = root.strings("allowed_precisions");
  for (const auto& p : precisions) {
    if (p != "float32" && p != "bfloat16") root.problem("allowed_precisions", "expected \"float32\" or \"bfloat16\", got \"" + p + "\"");
  }
  if (precisions.empty()) root.problem("allowed_precisions", "expected at least one");
  return precisions;
}

void read_layouts(JsonRecord& root, Manifest& m) {
  m.inputs = read_layout(root.record("inputs"), m.level_count);
  m.outputs = read_layout(root.record("outputs"), m.level_count);
  if (!unknown(root, "network_inputs")) read_layout(root.record("network_inputs"), m.level_count);
  Layout network_outputs;
  if (!unknown(root, "network_outputs")) network_outputs = read_layout(root.record("network_outputs"), m.level_count);
  m.difference_scale = read_scale(root.record("difference_scale"), m.outputs);
  if (!root.has("confidence") || root.is_null("confidence")) return;
  if (network_outputs.variables.empty() || root.object("confidence") != root.object("network_outputs"))
    root.problem("confidence", "expected the layout of network_outputs, or null");
  append_confidence(m, network_outputs);
}

Manifest read_manifest(JsonRecord root, std::string text_of_manifest) {
  Manifest m;
  m.json = std::move(text_of_manifest);
  root.ignore("schema_version");
  if (root.has("kind")) root.choice("kind", {"column"});
  m.name = root.string("name");
  if (m.name.empty()) root.problem("name", "expected a text of at least one character");
  m.level_count = root.integer("level_count", 1);
  m.dims["level"] = m.level_count;
  m.time_step_s = root.positive("time_step_s");
  refuse_unknown(root);
  if (!unknown(root, "pruned_levels") && root.integer("pruned_levels", 0) > m.level_count)
    root.problem("pruned_levels", text("expected at most level_count ", m.level_count));
  if (!unknown(root, "hybrid")) check_hybrid(root.record("hybrid"), m.level_count);
  read_layouts(root, m);
  if (root.has("training_ranges")) check_training_ranges(root.record("training_ranges"), m.inputs);
  m.allowed_precisions = read_precisions(root);
  m.tolerances = read_tolerances(root);
  read_golden(root.record("golden"), m);
  if (root.has("imported") && !root.is_null("imported")) m.host_postprocessing = read_imported(root.record("imported"));
  if (!unknown(root, "constraints")) m.constraints = read_constraints(root);
  check_description(root);
  root.finish();
  return m;
}

// A manifest written by climlink is 7 deep; what is printed of a value in a message recurses once
// per level.
constexpr std::size_t deepest = 64;

// Refuses depth, and keys that stand twice in one object, which different readers would read
// differently. (The callback of json::parse could do it too, but looks through the whole list again
// after every object in it.)
class StrictReader final : public nlohmann::json_sax<json> {
 public:
  bool start_object(std::size_t /*size*/) override { return open(); }
  bool start_array(std::size_t /*size*/) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) throw JsonProblem("the key \"" + name + "\" stands twice in one object");
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  // Left to json::parse, which says where.
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/, const nlohmann::detail::exception& /*error*/) override {
    return false;
  }

 private:
  bool open() {
    if (keys_.size() >= deepest) throw JsonProblem(text("nested deeper than ", deepest, " levels"));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }
  std::vector<std::set<std::string>> keys_;
};

json parse_strictly(const std::string& text_of_manifest) {
  StrictReader reader;
  json::sax_parse(text_of_manifest, &reader);
  return json::parse(text_of_manifest);
}

json parse_json(const std::string& text_of_manifest, const std::string& origin) {
  try {
    return parse_strictly(text_of_manifest);
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": the manifest is not JSON (", error.what(), "). Export the package again");
  }
}

// First of all checks, so that a newer package is called newer and not broken.
void check_version(const json& document, const std::string& origin) {
  const auto version = document.is_object() ? document.find("schema_version") : document.end();
  if (version == document.end() || !version->is_number_integer()) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": the manifest has no integer schema_version; expected ", schema_version,
         ". Export the package again");
  }
  const auto value = version->get<std::int64_t>();
  if (value > schema_version) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": manifest schema ", value, " is newer than the ", schema_version, " this climlink ",
         CLIMLINK_VERSION, " reads; update climlink");
  }
  if (value < schema_version) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": manifest schema ", value, " does not exist; this climlink reads ", schema_version);
  }
}

}  // namespace

std::int64_t Layout::find(std::string_view name) const {
  const auto found = std::find_if(variables.begin(), variables.end(), [&](const Variable& v) { return v.name == name; });
  return found == variables.end() ? -1 : found - variables.begin();
}

const Variable& Layout::owner(std::int64_t position) const {
  return *std::find_if(variables.begin(), variables.end(), [&](const Variable& v) { return position < v.offset + v.width; });
}

std::vector<std::string_view> Layout::names() const {
  std::vector<std::string_view> result;
  for (const auto& v : variables) result.emplace_back(v.name);
  return result;
}

const char* role_text(VariableRole role) noexcept {
  constexpr std::array texts = {"value", "confidence", "carried", "start"};
  return texts[static_cast<std::size_t>(role)];
}

std::int64_t Manifest::dim_size(std::string_view dim) const {
  const auto found = dims.find(dim);
  return found == dims.end() ? 0 : found->second;
}

double Manifest::tolerance(std::string_view backend, std::string_view device, std::string_view precision) const {
  for (const auto& t : tolerances) {
    if (t.backend == backend && t.device == device && t.precision == precision) return t.value;
  }
  fail(CLIMLINK_ERROR_GOLDEN, "the manifest of ", name, " declares no tolerance for ", backend, "/", device, "/", precision,
       ", so its golden columns cannot be judged there. Export it with one, or choose another device");
}

Manifest parse_manifest(std::string json_text, const std::string& origin) {
  const json document = parse_json(json_text, origin);
  check_version(document, origin);
  try {
    return read_manifest(JsonRecord(document, ""), std::move(json_text));
  } catch (const JsonProblem& problem) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": the manifest is not valid: ", problem.what(), ". Export the package again");
  }
}

}  // namespace climlink
