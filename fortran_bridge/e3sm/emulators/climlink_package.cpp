#include "climlink_package.hpp"

#include <locale>
#include <sstream>

namespace climlink_e3sm {
namespace {

std::string speaker(std::int32_t rank) {
  return rank < 0 ? "climlink: " : "climlink: rank " + std::to_string(rank) + ": ";
}

[[noreturn]] void fail_option(const std::string& key, const std::string& value,
                              const std::string& expected) {
  throw PackageError(CLIMLINK_ERROR_ARGUMENT,
                     "climlink: option " + key + " is \"" + value + "\"; expected " + expected);
}

// The whole text as a number; independent of the locale.
template <class Number>
Number number(const std::string& key, const std::string& value, const char* expected) {
  std::istringstream text(value);
  text.imbue(std::locale::classic());
  Number result{};
  text >> result;
  if (text.fail() || text.peek() != std::istringstream::traits_type::eof())
    fail_option(key, value, expected);
  return result;
}

using Setter = void (*)(PackageSettings&, const std::string& key, const std::string& value);

template <std::string PackageSettings::* member>
void set_text(PackageSettings& settings, const std::string&, const std::string& value) {
  settings.*member = value;
}

template <std::int32_t PackageSettings::* member>
void set_integer(PackageSettings& settings, const std::string& key, const std::string& value) {
  settings.*member = number<std::int32_t>(key, value, "an integer");
}

void set_time_step(PackageSettings& settings, const std::string& key, const std::string& value) {
  settings.time_step_s = number<double>(key, value, "a number of seconds");
}

const std::map<std::string, Setter>& setters() {
  static const std::map<std::string, Setter> table = {
      {"constraints_off", set_text<&PackageSettings::constraints_off>},
      {"device", set_text<&PackageSettings::device>},
      {"level_count", set_integer<&PackageSettings::level_count>},
      {"local_rank", set_integer<&PackageSettings::local_rank>},
      {"micro_batch", set_integer<&PackageSettings::micro_batch>},
      {"pinned_sha256", set_text<&PackageSettings::pinned_sha256>},
      {"rank", set_integer<&PackageSettings::rank>},
      {"threads", set_integer<&PackageSettings::threads>},
      {"time_step_s", set_time_step},
  };
  return table;
}

climlink_options c_options(const PackageSettings& settings) {
  climlink_options options = climlink_options_default();
  options.level_count = settings.level_count;
  options.time_step_s = settings.time_step_s;
  options.device = settings.device.c_str();
  options.local_rank = settings.local_rank;
  options.threads = settings.threads;
  options.micro_batch = settings.micro_batch;
  options.constraints_off = settings.constraints_off.c_str();
  options.pinned_sha256 = settings.pinned_sha256.empty() ? nullptr : settings.pinned_sha256.c_str();
  return options;
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

PackageSettings settings_from_options(const std::string& path,
                                      const std::map<std::string, std::string>& options) {
  PackageSettings settings;
  settings.path = path;
  for (const auto& [key, value] : options) {
    const auto setter = setters().find(key);
    if (setter == setters().end()) {
      std::string known;
      for (const auto& entry : setters()) known += (known.empty() ? "" : ", ") + entry.first;
      throw PackageError(CLIMLINK_ERROR_ARGUMENT,
                         "climlink: option \"" + key + "\" is not known; expected one of " + known);
    }
    setter->second(settings, key, value);
  }
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
  const climlink_options options = c_options(settings);
  climlink_emulator* opened = nullptr;
  const std::string* bytes = settings.contents.get();
  require(bytes == nullptr
              ? climlink_open(path_.c_str(), &options, &opened)
              : climlink_open_bytes(bytes->data(), static_cast<std::int64_t>(bytes->size()),
                                    path_.c_str(), &options, &opened));
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
