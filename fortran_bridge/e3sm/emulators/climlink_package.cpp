#include "climlink_package.hpp"

#include <locale>
#include <sstream>

namespace climlink_e3sm {
namespace {

std::string speaker(std::int32_t rank) {
  return rank < 0 ? "climlink: " : "climlink: rank " + std::to_string(rank) + ": ";
}

struct FreeOptions {
  void operator()(climlink_options* options) const noexcept { climlink_options_free(&options); }
};
using Options = std::unique_ptr<climlink_options, FreeOptions>;

// climlink's options with these values. Throws PackageError.
Options options_with(const PackageOptions& values) {
  const auto require = [](climlink_status status) {
    if (status != CLIMLINK_OK)
      throw PackageError(status, std::string("climlink: ") + climlink_last_message());
  };
  climlink_options* made = nullptr;
  require(climlink_options_new(&made));
  Options options(made);
  for (const auto& [name, value] : values)
    require(climlink_options_set(made, name.c_str(), value.c_str()));
  return options;
}

// The rank that messages name; independent of the locale.
std::int32_t rank_from(const std::string& value) {
  std::istringstream text(value);
  text.imbue(std::locale::classic());
  std::int32_t rank = 0;
  text >> rank;
  if (text.fail() || text.peek() != std::istringstream::traits_type::eof())
    throw PackageError(CLIMLINK_ERROR_ARGUMENT,
                       "climlink: option rank is \"" + value + "\"; expected an integer");
  return rank;
}

using Sizes = std::vector<std::int64_t>;

// Some channels of rows [n, row_width], from first on, as climlink sees a variable: index 0 is the
// row, then come the dimensions, the last one fastest.
climlink_array view(double* first, std::int64_t row_width, const Sizes& sizes, std::int64_t n) {
  climlink_array array{};
  array.data = first;
  array.type = CLIMLINK_FLOAT64;
  array.rank = 1 + static_cast<std::int32_t>(sizes.size());
  array.extent[0] = n;
  array.stride[0] = row_width * static_cast<std::int64_t>(sizeof(double));
  std::int64_t stride = sizeof(double);
  for (std::size_t i = sizes.size(); i > 0; --i) {
    array.extent[i] = sizes[i - 1];
    array.stride[i] = stride;
    stride *= sizes[i - 1];
  }
  return array;
}

}  // namespace

PackageSettings settings_from_options(const std::string& path, const PackageOptions& options) {
  PackageSettings settings;
  settings.path = path;
  settings.options = options;
  if (const auto rank = settings.options.extract("rank"); !rank.empty())
    settings.rank = rank_from(rank.mapped());
  options_with(settings.options);
  return settings;
}

Package::Package(const PackageSettings& settings, std::int64_t n_input, std::int64_t n_output)
    : path_(settings.path),
      prefix_(speaker(settings.rank) + "open: "),
      n_input_(n_input),
      n_output_(n_output) {
  if (path_.empty())
    fail(CLIMLINK_ERROR_ARGUMENT,
         "the path of the package is empty; expected the path of a wrap_model.pt");
  const Options options = options_with(settings.options);
  climlink_emulator* opened = nullptr;
  const std::string* bytes = settings.contents.get();
  require(bytes == nullptr
              ? climlink_open(path_.c_str(), options.get(), &opened)
              : climlink_open_bytes(bytes->data(), static_cast<std::int64_t>(bytes->size()),
                                    path_.c_str(), options.get(), &opened));
  emulator_.reset(opened);
  check_channels(CLIMLINK_INPUT, "input_channels", n_input);
  check_channels(CLIMLINK_OUTPUT, "output_channels", n_output);
  inputs_ = fields(CLIMLINK_INPUT);
  outputs_ = fields(CLIMLINK_OUTPUT);
  prefix_ = speaker(settings.rank) + "infer: " + path_ + ": ";
}

void Package::check_channels(climlink_role role, const char* option, std::int64_t given) const {
  std::int32_t count = 0;
  std::int64_t width = 0;
  require(climlink_variable_count(emulator_.get(), role, &count, &width));
  if (width == given) return;
  fail(CLIMLINK_ERROR_SHAPE, path_ + ": " + option + " is " + std::to_string(given) +
                                 ", the package has " + std::to_string(width) + " channels (" +
                                 std::to_string(count) + " variables). Set " + option + " to " +
                                 std::to_string(width) +
                                 ", or take the package that the host's rows were laid out for");
}

std::vector<Package::Field> Package::fields(climlink_role role) const {
  std::int32_t count = 0;
  std::int64_t total = 0;
  require(climlink_variable_count(emulator_.get(), role, &count, &total));
  std::vector<Field> result;
  for (std::int32_t i = 0; i < count; ++i) {
    const char *name = nullptr, *units = nullptr;
    std::int64_t width = 0, offset = 0;
    require(climlink_variable(emulator_.get(), role, i, &name, &units, &width, &offset));
    std::int32_t n_dim = 0;
    const char* const* dims = nullptr;
    const std::int64_t* sizes = nullptr;
    require(climlink_variable_dims(emulator_.get(), role, i, &n_dim, &dims, &sizes));
    result.push_back({name, offset, std::vector<std::int64_t>(sizes, sizes + n_dim)});
  }
  return result;
}

void Package::infer(const double* inputs, double* outputs, std::int64_t n_column) {
  if (n_column < 0)
    fail(CLIMLINK_ERROR_ARGUMENT,
         "the batch has " + std::to_string(n_column) + " columns; expected 0 or more");
  if (n_column == 0) return;
  if (inputs == nullptr || outputs == nullptr) {
    fail(CLIMLINK_ERROR_ARGUMENT, std::string(inputs == nullptr ? "inputs" : "outputs") +
                                      " is a null pointer; expected rows of " +
                                      std::to_string(n_column) + " columns");
  }
  require(climlink_begin(emulator_.get(), n_column));
  for (const Field& f : inputs_) {
    // climlink_array has one kind of address; climlink_set only reads.
    double* first = const_cast<double*>(inputs) + f.offset;
    const climlink_array array = view(first, n_input_, f.sizes, n_column);
    require(climlink_set(emulator_.get(), f.name.c_str(), &array, 0));
  }
  require(climlink_run(emulator_.get()));
  for (const Field& f : outputs_) {
    const climlink_array array = view(outputs + f.offset, n_output_, f.sizes, n_column);
    require(climlink_get(emulator_.get(), f.name.c_str(), &array, 0));
  }
}

std::string Package::description() const {
  const char *sha256 = nullptr, *device = nullptr;
  require(climlink_digest(emulator_.get(), &sha256));
  require(climlink_device(emulator_.get(), &device));
  return "climlink " + std::string(climlink_version()) + " (" + climlink_backend() + "): " + path_ +
         ", sha256 " + sha256 + ", " + device + ", " + std::to_string(n_input_) + " -> " +
         std::to_string(n_output_) + " channels";
}

void Package::require(climlink_status status) const {
  if (status != CLIMLINK_OK) fail(status, climlink_last_message());
}

void Package::fail(climlink_status status, const std::string& message) const {
  throw PackageError(status, prefix_ + message);
}

}  // namespace climlink_e3sm
