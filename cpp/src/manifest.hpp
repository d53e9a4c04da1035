// The manifest as the runtime needs it: the C++ reader of what it acts on (docs/manifest.md; the
// whole schema is wrappers/manifest.py).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wording.hpp"

namespace climlink {

constexpr int schema_version = 2;

// A row beyond this many values is refused; sums and products of two widths then fit 64 bits.
constexpr std::int64_t largest_width = 2'000'000'000;

// What a variable is for; in a row of outputs they stand in this order.
enum class VariableRole { value, confidence, carried, start };

// "value", "confidence", "carried" or "start".
const char* role_text(VariableRole role) noexcept;

// One variable of a packed row.
struct Variable {
  std::string name;
  std::string units;
  std::vector<std::string> dims;    // none for a scalar; the last is fastest in the row
  std::vector<std::int64_t> sizes;  // of dims
  VariableRole role = VariableRole::value;
  std::int64_t width = 0;   // values per sample: the product of sizes
  std::int64_t offset = 0;  // first position in the row, 0-based

  // "level 3" or "lat 2, lon 5" for a position within the variable, counted as the host counts; ""
  // for a scalar.
  std::string position_text(std::int64_t position, const Wording& words) const;
};

// The ordered variables of a packed row; they fill it without gaps.
struct Layout {
  std::vector<Variable> variables;
  std::int64_t width = 0;

  // Index of a variable, or -1.
  std::int64_t find(std::string_view name) const;
  // The variable that owns one position of the row.
  const Variable& owner(std::int64_t position) const;
  std::vector<std::string_view> names() const;
};

// Variables by their indices: an output of a step is the input of the next one.
struct CarriedPair {
  std::size_t output = 0;
  std::size_t input = 0;
};

struct Coordinate {
  std::string units;
  std::vector<double> values;  // strictly monotonic
};

// Hybrid coefficients of interfaces, top down: the pressure is p0_pa hyai + hybi ps. Empty where
// the package states none.
struct VerticalGrid {
  double p0_pa = 0;
  std::vector<double> hyai, hybi;  // [level + 1]
};

struct Tolerance {
  std::string backend, device, precision;
  double value = 0;
};

// What the manifest says about the golden rows, [step_count][sequence].
struct Golden {
  std::int64_t sample_count = 0;
  std::int64_t step_count = 1;
  double chained_tolerance = 0;  // of the chained replay; 0 without carried variables
  std::string inputs_sha256, outputs_sha256;

  std::int64_t sequence_count() const { return sample_count / step_count; }
};

struct Manifest {
  std::string json;  // the text as it stands in the package
  std::string name;
  std::map<std::string, std::int64_t, std::less<>> dims;
  std::map<std::string, Coordinate, std::less<>> coordinates;  // of some dims
  VerticalGrid vertical_grid;
  Layout inputs;
  Layout outputs;
  std::vector<CarriedPair> carried;
  std::optional<std::size_t> start;  // index of the input that says whether a sample begins
  std::int64_t batch_granule = 1;    // every forward gets a multiple of this many rows
  double time_step_s = 0;            // 0 where the package states none
  std::vector<std::vector<double>>
      difference_scale;  // s of |a-b|/(s+|b|) of each output: one, or one per value
  std::vector<std::string> allowed_precisions;
  std::vector<Tolerance> tolerances;
  std::optional<std::vector<std::string>>
      constraints;  // names in their order; nothing where an imported graph does not say
  std::string host_postprocessing =
      "none";  // what an imported graph asks of the host: "none" or "legacy"
  Golden golden;

  // Size of a dimension; 0 where there is none of that name.
  std::int64_t dim_size(std::string_view dim) const;
  // Golden tolerance; where nothing is said of compiled float32, that of TorchScript, which is of
  // other kernels too. Throws Error(GOLDEN) where the manifest declares none.
  double tolerance(std::string_view backend, std::string_view device,
                   std::string_view precision) const;
};

// Reads and validates JSON text; origin is the file named in messages. Throws Error(SCHEMA).
Manifest parse_manifest(std::string json, const std::string& origin);

}  // namespace climlink
