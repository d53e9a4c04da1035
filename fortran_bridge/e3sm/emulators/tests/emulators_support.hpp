// What the tests of the backend share: a backend on a fixture, rows of float64, and the same rows
// through climlink's C interface.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "climlink_inference_backend.hpp"
#include "support.hpp"

namespace emulators {

using climlink_e3sm::ClimlinkBackend;
using climlink_e3sm::PackageError;
using climlink_e3sm::PackageSettings;
using emulator::inference::InferenceConfig;

// A fixture with its channel counts.
struct Fixture {
  const char* name;
  int n_input, n_output;
};
constexpr Fixture tiny{"tiny.pt", 9, 5}, mlp{"mlp.pt", 557, 368},
    convolution{"convolution.pt", 557, 368};
// Variables of two and three dimensions, each row a forward of its own.
constexpr Fixture field{"field.pt", 37, 72};

inline InferenceConfig configuration(const Fixture& f) {
  InferenceConfig config;
  config.input_channels = f.n_input;
  config.output_channels = f.n_output;
  return config;
}

inline PackageSettings settings(const Fixture& f) {
  PackageSettings result;
  result.path = support::fixture(f.name);
  return result;
}

inline std::unique_ptr<ClimlinkBackend> backend(const Fixture& f) {
  return std::make_unique<ClimlinkBackend>(configuration(f), settings(f));
}

// Rows [n, n_input]; channel 8, the divisor of tiny.pt, is not near zero. The values have bits that
// float32 drops.
inline std::vector<double> rows(const Fixture& f, int n, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> x(static_cast<std::size_t>(n) * static_cast<std::size_t>(f.n_input));
  for (double& value : x) value = normal(random);
  for (std::size_t i = 8; i < x.size(); i += static_cast<std::size_t>(f.n_input))
    x[i] = 1 + std::abs(x[i]);
  return x;
}

// Outputs [n, n_output] filled with a value that no network gives.
constexpr double untouched = -12345.678;
inline std::vector<double> room(const Fixture& f, int n) {
  return std::vector<double>(static_cast<std::size_t>(n) * static_cast<std::size_t>(f.n_output),
                             untouched);
}

// climlink's own answer: rows cast here, one packed call.
inline std::vector<double> packed_answer(const Fixture& f, const std::vector<double>& x, int n) {
  const support::Handle handle(f.name);
  const std::vector<float> narrow(x.begin(), x.end());
  std::vector<float> y(static_cast<std::size_t>(n) * static_cast<std::size_t>(f.n_output));
  if (climlink_run_packed(handle, narrow.data(), n, f.n_input, y.data(), f.n_output) != CLIMLINK_OK)
    throw std::runtime_error(climlink_last_message());
  return {y.begin(), y.end()};
}

// What infer says, and whether outputs stayed as they were.
struct Refusal {
  bool accepted;
  std::string message;
  bool outputs_untouched;
};

inline Refusal refusal(ClimlinkBackend& b, const Fixture& f, const std::vector<double>& x, int n) {
  std::vector<double> y = room(f, n);
  const bool accepted = b.infer(x.data(), y.data(), n);
  return {accepted, b.error(), y == room(f, n)};
}

// Status and message of an opening that must fail.
inline std::pair<climlink_status, std::string> opening_failure(const InferenceConfig& config,
                                                               const PackageSettings& how) {
  try {
    const ClimlinkBackend opened(config, how);
  } catch (const PackageError& error) {
    return {error.status(), error.what()};
  }
  return {CLIMLINK_OK, "opened"};
}

}  // namespace emulators
