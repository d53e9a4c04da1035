// The inference backend "libtorch" of E3SM's components/emulators. This header and its source are
// the only files that know E3SM's classes (the flat-array interface of E3SM master): when that
// interface changes, they change, and nothing else does.
#pragma once

#include <memory>
#include <string>

#include "climlink_package.hpp"
#include "inference_backend.hpp"  // E3SM's

namespace climlink_e3sm {

// Runs a climlink package. Rows are [column, channel] of float64, channels in the order of the
// package's manifest.
class ClimlinkBackend : public emulator::inference::InferenceBackend {
 public:
  // Opens the package, which includes the replay of its golden columns. Throws PackageError;
  // config.verbose has no effect, since climlink never prints: description() is what a host may
  // log.
  ClimlinkBackend(const emulator::inference::InferenceConfig& config,
                  const PackageSettings& settings);

  // False if anything is wrong; error() then says what, and outputs are as they were. A refused
  // batch leaves the backend usable.
  bool infer(const double* inputs, double* outputs, int batch_size = 1) override;

  // Frees the package; may be called again.
  void finalize() override;

  std::string name() const override { return "libtorch"; }

  // Message of the last infer, "" if it succeeded.
  const std::string& error() const noexcept { return error_; }

  // One line about the open package for the host's log; "" after finalize.
  std::string description() const { return package_ ? package_->description() : std::string(); }

 private:
  std::unique_ptr<Package> package_;
  std::string error_;
};

// Message of the last infer of a backend held by its base class; "" if it succeeded, and for
// backends of other kinds.
std::string last_error(const emulator::inference::InferenceBackend& backend);

// The backend for a configuration that names the file (model_path) and carries options as texts. A
// template because the configuration of E3SM master has neither member; add_backend.py adds both.
template <class Config>
std::shared_ptr<emulator::inference::InferenceBackend> backend_from(const Config& config) {
  return std::make_shared<ClimlinkBackend>(
      config, settings_from_options(config.model_path, config.options));
}

}  // namespace climlink_e3sm
