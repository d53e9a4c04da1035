#include "climlink_inference_backend.hpp"

namespace climlink_e3sm {

using emulator::inference::InferenceBackend;
using emulator::inference::InferenceConfig;

ClimlinkBackend::ClimlinkBackend(const InferenceConfig& config, const PackageSettings& settings)
    : InferenceBackend(config),
      package_(std::make_unique<Package>(settings, config.input_channels, config.output_channels)) {
}

bool ClimlinkBackend::infer(const double* inputs, double* outputs, int batch_size) {
  error_.clear();
  try {
    if (!package_) {
      throw PackageError(CLIMLINK_ERROR_STATE,
                         "climlink: infer: the backend was finalized; make a new one, or finalize "
                         "after the last step");
    }
    package_->infer(inputs, outputs, batch_size);
  } catch (const PackageError& error) {
    error_ = error.what();
  }
  return error_.empty();
}

void ClimlinkBackend::finalize() { package_.reset(); }

std::string last_error(const InferenceBackend& backend) {
  const auto* own = dynamic_cast<const ClimlinkBackend*>(&backend);
  return own != nullptr ? own->error() : std::string();
}

}  // namespace climlink_e3sm
