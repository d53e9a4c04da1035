// Runs the package named by the first argument through create_backend. The component knows E3SM's
// interface only.
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "climlink_inference_backend.hpp"
#include "create_inference_backend.hpp"

using emulator::inference::BackendType;
using emulator::inference::create_backend;
using emulator::inference::InferenceConfig;

namespace {

InferenceConfig configuration(const char* package) {
  InferenceConfig config;
  config.input_channels = 9;
  config.output_channels = 5;
  config.model_path = package;
  config.options = {{"threads", "1"}, {"time_step_s", "1200"}};
  return config;
}

void check(bool good, const std::string& what) {
  if (!good) throw std::runtime_error("failed: " + what);
}

// The text of the error that create_backend throws.
std::string refusal(const InferenceConfig& config) {
  try {
    create_backend(BackendType::LIBTORCH, config);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

void run(const char* package) {
  const auto backend = create_backend(BackendType::LIBTORCH, configuration(package));
  check(backend->name() == "libtorch", "name of the backend");
  check(create_backend(BackendType::STUB, {})->name() == "Stub", "the stub is still the stub");
  const std::vector<double> x(18, 1.5);
  std::vector<double> y(10, -1.0);
  check(backend->infer(x.data(), y.data(), 2) && y[0] != -1.0 && y[0] == y[5],
        climlink_e3sm::last_error(*backend));
  backend->finalize();
  check(!backend->infer(x.data(), y.data(), 2), "infer after finalize");
  check(climlink_e3sm::last_error(*backend).find("finalized") != std::string::npos,
        "message after finalize");
}

void refuse(const char* package) {
  InferenceConfig config = configuration(package);
  config.options["thread"] = "1";
  check(
      refusal(config).find("\"thread\" is not an option. Near names: threads") != std::string::npos,
      "unknown option: " + refusal(config));
  check(refusal(configuration("no_such_file.pt")).find("no_such_file.pt") != std::string::npos,
        "missing package");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    refuse(argv[1]);
    // A climlink without libtorch can only check the package, and says so.
    if (std::strcmp(climlink_backend(), "stub") == 0)
      return refusal(configuration(argv[1])).empty();
    run(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
