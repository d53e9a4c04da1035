// A climlink package behind flat rows of float64. Nothing in this file or its source knows E3SM's
// classes; they are in climlink_inference_backend.hpp alone. C++17, over climlink's C interface
// only.
#pragma once

#include <climlink/climlink.h>

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace climlink_e3sm {

// A failure: climlink's status for the program, what() for the reader ("climlink: rank 3: infer:
// FILE: ...").
class PackageError : public std::runtime_error {
 public:
  PackageError(climlink_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  climlink_status status() const noexcept { return status_; }

 private:
  climlink_status status_;
};

// climlink's options by name and text (docs/e3sm-emulators.md); what is not there has climlink's
// own default.
using PackageOptions = std::map<std::string, std::string>;

// Which package to open and how.
struct PackageSettings {
  std::string path;
  std::shared_ptr<const std::string>
      contents;  // the file's bytes, path then being a name in messages; null: the file is read
  PackageOptions options;
  std::int32_t rank = -1;  // named in messages; -1: not named
};

// Settings from key and value texts, the keys being "rank" and the names of climlink's options.
// Throws PackageError for an unknown key or a value that does not fit.
PackageSettings settings_from_options(const std::string& path, const PackageOptions& options);

// An opened package for rows [column, channel] of float64 in the manifest's order. One thread at a
// time; packages are independent.
class Package {
 public:
  // Opens the package and compares the channel counts with its manifest. Throws PackageError.
  Package(const PackageSettings& settings, std::int64_t n_input, std::int64_t n_output);

  // inputs [n_column, n_input] -> outputs [n_column, n_output]; 0 columns are legal, the pointers
  // then unused. Throws PackageError for values that are not finite as float32, for a failing
  // network and for null pointers; outputs are then as they were.
  void infer(const double* inputs, double* outputs, std::int64_t n_column);

  // One line for the host's log: file, digest, device, channels.
  std::string description() const;

 private:
  struct Close {
    void operator()(climlink_emulator* emulator) const noexcept { climlink_close(&emulator); }
  };
  // A variable: the channels of a row from offset on, one for each combination of its dimensions.
  struct Field {
    std::string name;
    std::int64_t offset;
    std::vector<std::int64_t> sizes;
  };

  void check_channels(climlink_role role, const char* option, std::int64_t given) const;
  std::vector<Field> fields(climlink_role role) const;
  void require(climlink_status status) const;
  [[noreturn]] void fail(climlink_status status, const std::string& message) const;

  std::string path_, prefix_;
  std::int64_t n_input_, n_output_;
  std::unique_ptr<climlink_emulator, Close> emulator_;
  std::vector<Field> inputs_, outputs_;
};

}  // namespace climlink_e3sm
