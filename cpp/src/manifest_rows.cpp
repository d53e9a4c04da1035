#include "manifest_rows.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "error.hpp"
#include "near_names.hpp"

namespace climlink {
namespace {

// An index for the sample and these are CLIMLINK_MAX_RANK.
constexpr std::size_t most_dims = CLIMLINK_MAX_RANK - 1;

void read_dims(JsonRecord& root, Manifest& m) {
  const auto& sizes = root.object("dims");
  JsonRecord record = root.record("dims");
  for (const auto& [name, size] : sizes.items()) m.dims[name] = record.integer(name, 1);
}

bool strictly_monotonic(const std::vector<double>& values) {
  const auto not_above = [](double a, double b) { return a >= b; };
  const auto not_below = [](double a, double b) { return a <= b; };
  return std::adjacent_find(values.begin(), values.end(), not_above) == values.end() ||
         std::adjacent_find(values.begin(), values.end(), not_below) == values.end();
}

void read_coordinates(JsonRecord& root, Manifest& m) {
  if (!root.has("coordinates")) return;
  const auto& of_dims = root.object("coordinates");
  JsonRecord coordinates = root.record("coordinates");
  for (const auto& [dim, value] : of_dims.items()) {
    if (m.dim_size(dim) == 0) coordinates.problem(dim, "not a dimension in dims");
    JsonRecord record = coordinates.record(dim);
    Coordinate coordinate{record.string("units"), record.numbers("values")};
    if (static_cast<std::int64_t>(coordinate.values.size()) != m.dim_size(dim))
      record.problem("values", text("expected ", m.dim_size(dim), " numbers, the size of ", dim,
                                    ", got ", coordinate.values.size()));
    if (!strictly_monotonic(coordinate.values))
      record.problem("values", "expected numbers that only rise or only fall");
    record.finish();
    m.coordinates[dim] = std::move(coordinate);
  }
}

// Coefficients of n interfaces or midpoints.
std::vector<double> read_coefficients(JsonRecord& record, const char* key, std::int64_t n) {
  auto values = record.numbers(key);
  if (static_cast<std::int64_t>(values.size()) != n)
    record.problem(key, text("expected ", n, " numbers, got ", values.size()));
  return values;
}

void read_vertical_grid(JsonRecord& root, Manifest& m) {
  if (root.is_null("hybrid")) return;
  JsonRecord record = root.record("hybrid");
  const std::int64_t n_level = m.dim_size("level");
  if (n_level == 0) root.problem("hybrid", "expected null, as there is no dimension level");
  VerticalGrid& grid = m.vertical_grid;
  grid.p0_pa = record.positive("p0_pa");
  for (const char* key : {"hyam", "hybm"}) read_coefficients(record, key, n_level);
  grid.hyai = read_coefficients(record, "hyai", n_level + 1);
  grid.hybi = read_coefficients(record, "hybi", n_level + 1);
  record.finish();
}

std::string shape_text(const Variable& v) {
  std::string shape;
  for (std::size_t d = 0; d < v.sizes.size(); ++d)
    shape += text(d > 0 ? ", " : "", v.dims[d], " ", v.sizes[d]);
  return "[" + shape + "]";
}

// The product of the sizes, which are filled in.
std::int64_t width_of(const JsonRecord& record, const Manifest& m, Variable& v) {
  if (v.dims.size() > most_dims)
    record.problem("dims",
                   text("expected at most ", most_dims, " dimensions, got ", v.dims.size()));
  std::int64_t width = 1;
  for (const auto& dim : v.dims) {
    if (std::count(v.dims.begin(), v.dims.end(), dim) > 1)
      record.problem("dims", dim + " stands twice");
    if (m.dim_size(dim) == 0)
      record.problem("dims", "\"" + dim + "\" is not in the manifest's dims");
    v.sizes.push_back(m.dim_size(dim));
    width *= v.sizes.back();
    if (width > largest_width)
      record.problem("dims", text("a row holds at most ", largest_width, " values, ", shape_text(v),
                                  " are more"));
  }
  return width;
}

VariableRole role_of(JsonRecord& record, climlink_role row) {
  if (!record.has("role")) return VariableRole::value;
  constexpr auto value = VariableRole::value, confidence = VariableRole::confidence,
                 carried = VariableRole::carried, start = VariableRole::start;
  const std::vector<VariableRole> roles = row == CLIMLINK_INPUT
                                              ? std::vector{value, carried, start}
                                              : std::vector{value, confidence, carried};
  std::vector<std::string> texts;
  for (const auto role : roles) texts.emplace_back(role_text(role));
  const auto found = std::find(texts.begin(), texts.end(), record.choice("role", texts));
  return roles[static_cast<std::size_t>(found - texts.begin())];
}

Variable read_variable(JsonRecord record, const Manifest& m, climlink_role row) {
  Variable v;
  v.name = record.string("name");
  if (v.name.empty()) record.problem("name", "expected a text of at least one character");
  v.units = record.string("units");
  record.string("long_name");
  v.dims = record.strings("dims");
  v.width = record.integer("width", 1);
  v.offset = record.integer("offset", 0);
  record.optional_ignore("lag");  // the host's coupling acts on it by name
  v.role = role_of(record, row);
  const std::int64_t width = width_of(record, m, v);
  if (v.width != width)
    record.problem("width", text("says ", v.width, ", but ", v.name, " ", shape_text(v), " has ",
                                 width, " values"));
  record.finish();
  return v;
}

Layout read_layout(JsonRecord record, const Manifest& m, climlink_role row) {
  Layout layout;
  record.string("set");
  layout.width = record.integer("width", 1);
  std::set<std::string> seen;
  std::int64_t position = 0;
  for (const auto& entry : record.records("variables")) {
    Variable v = read_variable(entry, m, row);
    if (!seen.insert(v.name).second) record.problem("variables", text(v.name, " occurs twice"));
    if (v.offset != position)
      record.problem("variables", text(v.name, " starts at ", v.offset, ", expected ", position,
                                       ": offsets are contiguous"));
    position += v.width;
    layout.variables.push_back(std::move(v));
  }
  if (layout.variables.empty()) record.problem("variables", "expected at least one variable");
  if (position != layout.width)
    record.problem("width", text("says ", layout.width, ", but the variables fill ", position));
  record.finish();
  return layout;
}

void check_output_order(const JsonRecord& root, const Layout& outputs) {
  for (std::size_t i = 1; i < outputs.variables.size(); ++i) {
    const Variable &before = outputs.variables[i - 1], &v = outputs.variables[i];
    if (v.role >= before.role) continue;
    root.problem("outputs",
                 text(v.name, " (", role_text(v.role), ") stands behind ", before.name, " (",
                      role_text(before.role), "); the order is value, confidence, carried"));
  }
  if (outputs.variables[0].role != VariableRole::value)
    root.problem("outputs", "expected a variable of role value first");
}

// The index of the variable of role carried that one side of a pair names.
std::size_t carried_index(JsonRecord& pair, const char* key, const Layout& layout,
                          std::set<std::string>& taken) {
  const std::string name = pair.string(key);
  const std::int64_t index = layout.find(name);
  const auto at = static_cast<std::size_t>(index);
  if (index < 0 || layout.variables[at].role != VariableRole::carried) {
    pair.problem(key, text("\"", name, "\" is not an ", key, " of role carried.",
                           near_names(name, layout.names())));
  }
  if (!taken.insert(name).second) pair.problem(key, name + " stands in two pairs");
  return at;
}

void check_all_paired(const JsonRecord& root, const char* row, const Layout& layout,
                      const std::set<std::string>& taken) {
  for (const auto& v : layout.variables) {
    if (v.role == VariableRole::carried && taken.count(v.name) == 0)
      root.problem("carried",
                   text("the ", row, " ", v.name, " has role carried, but stands in no pair"));
  }
}

void read_carried(JsonRecord& root, Manifest& m) {
  std::set<std::string> outputs, inputs;
  if (root.has("carried")) {
    for (auto& pair : root.records("carried")) {
      const CarriedPair indices{carried_index(pair, "output", m.outputs, outputs),
                                carried_index(pair, "input", m.inputs, inputs)};
      const Variable &output = m.outputs.variables[indices.output],
                     &input = m.inputs.variables[indices.input];
      if (output.dims != input.dims)
        pair.problem("input", text(input.name, " is ", shape_text(input), ", ", output.name, " ",
                                   shape_text(output), ": the two of a pair have the same dims"));
      if (output.units != input.units)
        pair.problem("input", text(input.name, " has units \"", input.units, "\", ", output.name,
                                   " \"", output.units, "\": the two of a pair have the same"));
      pair.finish();
      m.carried.push_back(indices);
    }
  }
  check_all_paired(root, "output", m.outputs, outputs);
  check_all_paired(root, "input", m.inputs, inputs);
}

void read_start(const JsonRecord& root, Manifest& m) {
  for (std::size_t i = 0; i < m.inputs.variables.size(); ++i) {
    const Variable& v = m.inputs.variables[i];
    if (v.role != VariableRole::start && v.name != "start") continue;
    if (v.role != VariableRole::start || v.name != "start" || v.units != "1" || !v.dims.empty())
      root.problem("inputs",
                   text(v.name, " has role ", role_text(v.role), ", units \"", v.units,
                        "\" and dims ", shape_text(v),
                        ": expected one input with name and role start, units \"1\" and dims []"));
    m.start = i;
  }
  if (m.start && m.carried.empty())
    root.problem("inputs", "start is there, but nothing is carried");
  if (!m.start && !m.carried.empty())
    root.problem("inputs", "variables are carried, but no input has role start");
}

}  // namespace

void read_rows(JsonRecord& root, Manifest& m) {
  read_dims(root, m);
  read_coordinates(root, m);
  read_vertical_grid(root, m);
  m.inputs = read_layout(root.record("inputs"), m, CLIMLINK_INPUT);
  m.outputs = read_layout(root.record("outputs"), m, CLIMLINK_OUTPUT);
  check_output_order(root, m.outputs);
  read_carried(root, m);
  read_start(root, m);
}

}  // namespace climlink
