// Runs the package named by the first argument through a backend that the component constructed.
#include <cstdio>
#include <cstring>
#include <vector>

#include "climlink_inference_backend.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  emulator::inference::InferenceConfig config;
  config.input_channels = 9;
  config.output_channels = 5;
  climlink_e3sm::PackageSettings settings;
  settings.path = argv[1];
  try {
    const std::shared_ptr<emulator::inference::InferenceBackend> backend =
        std::make_shared<climlink_e3sm::ClimlinkBackend>(config, settings);
    const std::vector<double> x(18, 1.5);
    std::vector<double> y(10, -1.0);
    if (!backend->infer(x.data(), y.data(), 2) || y[0] == -1.0 || y[0] != y[5]) {
      std::fprintf(stderr, "infer: %s\n", climlink_e3sm::last_error(*backend).c_str());
      return 1;
    }
    backend->finalize();
    return 0;
  } catch (const climlink_e3sm::PackageError& error) {
    // A climlink without libtorch can only check the package, and says so.
    const bool stub = std::strcmp(climlink_backend(), "stub") == 0;
    if (!stub) std::fprintf(stderr, "%s\n", error.what());
    return stub && error.status() == CLIMLINK_ERROR_BACKEND ? 0 : 1;
  }
}
