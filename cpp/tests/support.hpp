// What the tests of the C interface share: fixture packages, an owning handle, and array views.
#pragma once

#include <climlink/climlink.h>

#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace support {

// Path of a file made by make_fixtures.py.
inline std::string fixture(const std::string& name) {
  return std::string(CLIMLINK_FIXTURES) + "/" + name;
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("missing fixture " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Owns options; throws the message of an option that is refused.
class Options {
 public:
  Options(std::initializer_list<std::pair<const char*, std::string>> values = {}) {
    climlink_options_new(&options_);
    for (const auto& [name, value] : values) {
      if (climlink_options_set(options_, name, value.c_str()) != CLIMLINK_OK)
        throw std::runtime_error(climlink_last_message());
    }
  }
  ~Options() { climlink_options_free(&options_); }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  operator climlink_options*() const { return options_; }

 private:
  climlink_options* options_ = nullptr;
};

// Owns an emulator.
class Handle {
 public:
  Handle() = default;
  explicit Handle(const std::string& name, const Options& options = {}) {
    if (climlink_open(fixture(name).c_str(), options, &emulator) != CLIMLINK_OK)
      throw std::runtime_error(climlink_last_message());
  }
  ~Handle() { climlink_close(&emulator); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator climlink_emulator*() const { return emulator; }

  climlink_emulator* emulator = nullptr;
};

// Status and message of opening a fixture; the message is "" if it opens.
inline std::pair<climlink_status, std::string> opening(const std::string& name,
                                                       const Options& options = {}) {
  Handle handle;
  const climlink_status status = climlink_open(fixture(name).c_str(), options, &handle.emulator);
  if ((status == CLIMLINK_OK) != (handle.emulator != nullptr))
    throw std::runtime_error("a handle and a failure at once");
  return {status, status == CLIMLINK_OK ? "" : climlink_last_message()};
}

// [n_column, n_level] with the column fastest, as a Fortran host has it; n_level 0 makes a scalar
// [n_column].
template <class T>
struct Field {
  Field(std::int64_t columns, std::int64_t levels, T value = T())
      : n_column(columns),
        n_level(levels),
        values(static_cast<std::size_t>(columns * (levels > 0 ? levels : 1)), value) {}

  T& operator()(std::int64_t c, std::int64_t l = 0) {
    return values[static_cast<std::size_t>(l * n_column + c)];
  }
  climlink_array view() {
    climlink_array array{};
    array.data = values.data();
    array.type = sizeof(T) == 8 ? CLIMLINK_FLOAT64 : CLIMLINK_FLOAT32;
    array.rank = n_level > 0 ? 2 : 1;
    array.extent[0] = n_column;
    array.extent[1] = n_level;
    array.stride[0] = sizeof(T);
    array.stride[1] = static_cast<std::int64_t>(sizeof(T)) * n_column;
    return array;
  }

  std::int64_t n_column, n_level;
  std::vector<T> values;
};

// One step of the tiny packages for n columns. Throws the message of a call that fails.
inline void one_step(climlink_emulator* emulator, int64_t n) {
  Field<double> t(n, 4, 1.0), q(n, 4, 0.5), ps(n, 0, 2.0), out(n, 4), rain(n, 0);
  const auto ok = [](climlink_status status) {
    if (status != CLIMLINK_OK) throw std::runtime_error(climlink_last_message());
  };
  ok(climlink_begin(emulator, n));
  for (auto [name, field] :
       {std::pair{"state_t", &t}, std::pair{"state_q0001", &q}, std::pair{"state_ps", &ps}}) {
    const climlink_array view = field->view();
    ok(climlink_set(emulator, name, &view, 0));
  }
  ok(climlink_run(emulator));
  const climlink_array tendency = out.view(), scalar = rain.view();
  ok(climlink_get(emulator, "ptend_t", &tendency, 0));
  ok(climlink_get(emulator, "cam_out_PRECC", &scalar, 0));
}

}  // namespace support
