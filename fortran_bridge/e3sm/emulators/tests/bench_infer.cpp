// For benchmarks/bench_emulators.py: the backend and climlink's packed call on the same rows,
// callable from Python. 0 is success.
#include <string>
#include <vector>

#include "climlink_inference_backend.hpp"

#define BENCH_API extern "C" __attribute__((visibility("default")))

namespace {

struct Bench {
  std::unique_ptr<climlink_e3sm::ClimlinkBackend> backend;
  climlink_emulator* emulator = nullptr;
  int n_input = 0, n_output = 0;
  std::vector<double> x, y;
  std::vector<float> narrow_x, narrow_y;
};

Bench bench;
std::string message;

}  // namespace

BENCH_API const char* bench_message() { return message.c_str(); }

// Opens the package on both sides for rows [n_column, n_input].
BENCH_API int bench_open(const char* path, const float* rows, int n_column, int n_input,
                         int n_output) {
  if (climlink_open(path, nullptr, &bench.emulator) != CLIMLINK_OK) {
    message = climlink_last_message();
    return 1;
  }
  emulator::inference::InferenceConfig config;
  config.input_channels = bench.n_input = n_input;
  config.output_channels = bench.n_output = n_output;
  climlink_e3sm::PackageSettings settings;
  settings.path = path;
  try {
    bench.backend = std::make_unique<climlink_e3sm::ClimlinkBackend>(config, settings);
  } catch (const climlink_e3sm::PackageError& error) {
    message = error.what();
    return 1;
  }
  bench.narrow_x.assign(rows, rows + static_cast<std::ptrdiff_t>(n_column) * n_input);
  bench.x.assign(bench.narrow_x.begin(), bench.narrow_x.end());
  bench.narrow_y.resize(static_cast<std::size_t>(n_column) * static_cast<std::size_t>(n_output));
  bench.y.resize(bench.narrow_y.size());
  return 0;
}

BENCH_API int bench_infer(int n_column) {
  return bench.backend->infer(bench.x.data(), bench.y.data(), n_column) ? 0 : 1;
}

BENCH_API int bench_packed(int n_column) {
  return climlink_run_packed(bench.emulator, bench.narrow_x.data(), n_column, bench.n_input,
                             bench.narrow_y.data(), bench.n_output);
}

// 0 if both last answers are equal in all their values.
BENCH_API int bench_differ() {
  return std::vector<double>(bench.narrow_y.begin(), bench.narrow_y.end()) == bench.y ? 0 : 1;
}
