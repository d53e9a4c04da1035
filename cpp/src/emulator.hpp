// One opened package with its buffers: what a climlink_emulator handle stands for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend.hpp"
#include "climlink/climlink.h"
#include "column_runner.hpp"
#include "engine.hpp"
#include "group.hpp"
#include "options.hpp"
#include "package.hpp"

namespace climlink {

class Emulator {
 public:
  // Checks, loads, warms up and replays the golden columns; throws Error at the first thing wrong.
  // In a group only the leader loads.
  Emulator(std::string_view bytes, const std::string& name, const Options& options,
           std::unique_ptr<Group> group = nullptr);

  const Manifest& manifest() const { return package_.manifest; }
  const Wording& words() const { return package_.words; }
  const std::string& digest() const { return package_.digest; }
  const std::string& device() const { return device_text_; }
  // Of the device that this rank's network is on; all 0 where it has none, or on the CPU.
  DeviceMemory device_memory() const { return backend_device_memory(device_); }
  const Engine& engine() const { return engine_; }
  // Rows of a forward on the CPU.
  std::int64_t micro_batch() const { return micro_batch_; }
  // Constraints switched off, in the manifest's order, separated by commas; "" for none.
  const std::string& constraints_off() const { return constraints_off_text_; }
  double golden_difference() const { return golden_difference_; }
  // Whether a constraint of the range policy is in the manifest and not switched off.
  bool has_range_policy() const { return range_policy_; }
  const Layout& layout(climlink_role role) const;
  // The variable of a name; Error(VARIABLE) with the near names if there is none.
  const Variable& variable(climlink_role role, std::string_view name) const;

  void begin(std::int64_t n_column);
  void set(std::string_view name, const climlink_array& values, std::int64_t first_column);
  void run();
  // How much the range policy holds the columns of this step, [n_column] each: values that the
  // network sees clipped, heating by relaxation in W/m2, share of the mass relaxed. No network
  // runs.
  void range_use(std::int64_t n_column, double* clipped, double* heating, double* mass_share);
  void get(std::string_view name, const climlink_array& values, std::int64_t first_column) const;
  // x [n_column, n_input] -> y [n_column, n_output]; independent of begin, set and get.
  void run_packed(const float* x, std::int64_t n_column, std::int64_t n_input, float* y,
                  std::int64_t n_output);
  // The group that this rank shares the network with; null: it has its own.
  Group* group() const { return group_.get(); }

 private:
  enum class Stage { idle, setting, done, failed };

  // Everything before the network.
  void read(std::string_view bytes, const std::string& name, const Options& options);
  void load(std::string_view bytes, const Options& options);
  void load_on(const Device& device, std::string_view bytes, const Options& options,
               const std::vector<std::string>& constraints_off);
  // Points x_, y_ and use_ to room for n_column columns: the group's, or own.
  void place_rows(std::int64_t n_column);
  // Makes a call of a step. If it fails, the group does not wait for this rank in the step.
  template <class Call>
  void in_step(const Call& call);
  void set_in_step(std::string_view name, const climlink_array& values, std::int64_t first_column);
  void find_range_use();
  // Rows of the forwards that run before the first step.
  std::vector<std::int64_t> warm_sizes(const Options& options, const Batching& batching) const;
  // Has the device record forwards of so many rows; the note says what became of it.
  void record(const std::vector<std::int64_t>& sizes);
  void add_note(const std::string& note);
  // From the tuning file where it has one, else the option; what is missing there is noted.
  std::int64_t wanted_micro_batch(const Options& options);
  // Sees to it that every sample has its inputs, with zeros for carried ones where the sample
  // begins.
  void complete_inputs();
  void check_all_set() const;
  // Samples for which an input is needed but not set.
  std::int64_t missing(std::size_t variable) const;
  bool begins(std::int64_t sample) const;
  // Every start is 0 or 1.
  void check_start(const float* x, std::int64_t n_column) const;
  void check_packed_inputs(const float* x, std::int64_t n_column) const;
  void check_outputs(const float* y, std::int64_t n_column) const;

  Package package_;
  std::vector<std::string> constraints_off_;
  std::string constraints_off_text_;
  bool range_policy_ = false;
  Device device_;
  std::string device_text_;
  Engine engine_;
  std::int64_t micro_batch_ = 0;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<ColumnRunner> runner_;
  double golden_difference_ = 0;

  Stage stage_ = Stage::idle;
  std::int64_t n_column_ = 0;
  float *x_ = nullptr, *y_ = nullptr;        // [n_column, n_input], [n_column, n_output]
  double* use_ = nullptr;                    // [n_column, range_use_width]
  std::vector<std::uint8_t> is_set_;         // [variable, n_column]
  std::vector<std::int64_t> missing_count_;  // [variable]: columns not set yet

  std::unique_ptr<Group> group_;
  std::vector<float> own_x_, own_y_;  // without a group, what x_, y_ and use_ point to
  std::vector<double> own_use_;
};

}  // namespace climlink
