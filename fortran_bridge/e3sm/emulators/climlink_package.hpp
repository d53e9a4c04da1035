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

// Which package to open and how; the defaults are climlink's own.
struct PackageSettings {
  std::string path;
  std::shared_ptr<const std::string>
      contents;  // the file's bytes, path then being a name in messages; null: the file is read
  std::string pinned_sha256;  // 64 hexadecimal digits that the file must have; "": any file
  std::string
      constraints_off;  // constraints of the manifest to leave out, separated by commas; "": none
  std::string device = climlink_options_default().device;
  std::int32_t local_rank =
      climlink_options_default()
          .local_rank;  // rank on its node, from 0: which GPU "cuda" and "auto" take
  std::int32_t threads = climlink_options_default().threads;
  std::int32_t micro_batch =
      climlink_options_default().micro_batch;  // columns per forward on the CPU
  std::int32_t level_count = 0;                // levels of the host; 0: no claim
  double time_step_s = 0;                      // physics time step of the host; 0: no claim
  std::int32_t rank = -1;                      // named in messages; -1: not named
};

// Settings from key and value texts, the keys being the members' names. Throws PackageError for an
// unknown key or a value that is not a number where one is needed; what a number may be is
// climlink's to say when it opens.
PackageSettings settings_from_options(const std::string& path,
                                      const std::map<std::string, std::string>& options);

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
