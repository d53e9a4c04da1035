#include "emulator.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "constraint_switches.hpp"
#include "error.hpp"
#include "golden.hpp"
#include "host_array.hpp"
#include "near_names.hpp"
#include "processor.hpp"
#include "progress.hpp"
#include "tuning.hpp"

namespace climlink {
namespace {

const char* role_name(climlink_role role) { return role == CLIMLINK_INPUT ? "input" : "output"; }

// Columns from which a packed buffer could not be addressed; memory runs out long before.
void check_count(std::int64_t n_column, const Manifest& m) {
  if (n_column < 0)
    fail(CLIMLINK_ERROR_ARGUMENT, "n_column is ", n_column,
         "; expected a number of columns, 0 or more");
  const std::int64_t largest = (std::int64_t{1} << 58) / std::max(m.inputs.width, m.outputs.width);
  if (n_column > largest)
    fail(CLIMLINK_ERROR_ARGUMENT, "n_column is ", n_column, "; expected at most ", largest);
}

[[noreturn]] void fail_nonfinite_input(const Wording& words, const HostView& view,
                                       const Variable& v, std::int64_t first_column) {
  for (std::int64_t c = 0; c < view.n_column; ++c) {
    for (std::int64_t i = 0; i < v.width; ++i) {
      const double value = element(view, c, i);
      if (std::isfinite(static_cast<float>(value))) continue;
      fail(
          CLIMLINK_ERROR_NONFINITE, place(words, v, first_column + c, i), ": ",
          shown_nonfinite(value),
          " where a finite value is needed. Look for the cause in the host's state of that column");
    }
  }
  fail(CLIMLINK_ERROR_INTERNAL, v.name,
       ": a value changed while it was being copied; set must not run beside writes to the host's "
       "array");
}

}  // namespace

template <class Call>
void Emulator::in_step(const Call& call) {
  try {
    call();
  } catch (...) {
    if (group_ != nullptr)
      explained([this](climlink_status status, const char* message) noexcept {
        group_->leave_step(status, message);
      });
    throw;
  }
}

Emulator::Emulator(std::string_view bytes, const std::string& name, const Options& options,
                   std::unique_ptr<Group> group)
    : group_(std::move(group)) {
  in_step([&] { read(bytes, name, options); });
  if (group_ == nullptr) {
    load(bytes, options);
    return;
  }
  group_->open([&] {
    load(bytes, options);
    group_->tell({device_text_, engine_, golden_difference_});
  });
  const GroupNetwork network = group_->told();
  device_text_ = network.device;
  engine_ = network.engine;
  golden_difference_ = network.golden_difference;
}

void Emulator::read(std::string_view bytes, const std::string& name, const Options& options) {
  if (group_ == nullptr && options.integer("group_size") != 1)
    fail(CLIMLINK_ERROR_ARGUMENT, "option group_size is ", options.text("group_size"),
         ", but this process opens the package by itself. Open it in Fortran with the communicator "
         "of the ranks that may share the network, or leave group_size at 1");
  package_ = read_package(bytes, name, options.text("pinned_sha256"), options.wording());
  check_host_claims(options, manifest(), name);
  constraints_off_ = constraints_to_switch_off(options.names("constraints_off"), manifest(), name);
  for (const auto& constraint : constraints_off_)
    constraints_off_text_ += (constraints_off_text_.empty() ? "" : ",") + constraint;
  range_policy_ = has_range_constraint(manifest(), constraints_off_);
}

void Emulator::load(std::string_view bytes, const Options& options) {
  const Device device =
      choose_device(options.text("device"), options.integer("local_rank"), backend_device_count);
  device_ = device;
  device_text_ = device.text();
  cap_device_memory(device, options.real("device_memory_fraction"));
  engine_ = choose_engine(options, package_, device);
  load_on(device, bytes, options, {});
  progress(package_.name, ": the golden columns are replayed");
  golden_difference_ =
      replay_golden(package_, *runner_,
                    manifest().tolerance(engine_.name, device.tolerance_type(), engine_.precision));
  replay_chained(package_, *runner_);
  // The golden columns were recorded with every constraint on, so the graph proves itself unchanged
  // before a constraint is left out.
  if (!constraints_off_.empty()) load_on(device, bytes, options, constraints_off_);
}

void Emulator::load_on(const Device& device, std::string_view bytes, const Options& options,
                       const std::vector<std::string>& constraints_off) {
  runner_.reset();
  backend_.reset();  // before the next one takes memory
  const auto load_engine = [&] {
    backend_ =
        load_backend(bytes, package_.name, device, options.integer("threads"), constraints_off,
                     range_policy_, options.logical("trust_code"), engine_.library);
  };
  progress(package_.name, ": the graph is loaded on ", device.text());
  try {
    load_engine();
  } catch (const Error& error) {
    if (engine_.library.empty() || error.status() != CLIMLINK_ERROR_BACKEND) throw;
    engine_ = Engine::instead_of(options.text("compiled"), error.what());
    load_engine();
  }
  const Manifest& m = manifest();
  // A granule of 1 promises nothing about bits across batches: every sample is a forward of its
  // own, and so has always the same.
  const bool one_by_one = m.batch_granule == 1;
  micro_batch_ = one_by_one ? 1 : whole_granules(wanted_micro_batch(options), m.batch_granule);
  const bool all_at_once = !device.on_host() && !one_by_one;
  const Batching batching{m.batch_granule, all_at_once ? 0 : micro_batch_};
  const auto sizes = warm_sizes(options, batching);
  warm_up(package_, *backend_, sizes, range_policy_);
  if (!device.on_host() && options.logical("cuda_graphs")) record(sizes);
  runner_ = std::make_unique<ColumnRunner>(*backend_, m.inputs.width, m.outputs.width, batching);
}

std::vector<std::int64_t> Emulator::warm_sizes(const Options& options,
                                               const Batching& batching) const {
  // Of a group the leader runs the columns of all, who have about as many.
  const std::int64_t n_rank = group_ != nullptr ? group_->size() : 1;
  const std::int64_t known = n_rank * options.integer("column_count");
  if (known > 0) return batching.sizes(known);
  if (batching.micro_batch == 0) return batching.sizes(manifest().golden.sample_count);
  return {batching.micro_batch, batching.granule};
}

void Emulator::record(const std::vector<std::int64_t>& sizes) {
  for (const std::int64_t n_row : sizes) {
    progress(package_.name, ": the forward of ", n_row, " rows is recorded");
    const auto x = golden_rows(package_, n_row);
    const std::string obstacle =
        backend_->record({x.data(), n_row, n_row, manifest().inputs.width});
    add_note(obstacle.empty()
                 ? text("forwards of ", n_row, " rows are recorded as a graph")
                 : text("cuda_graphs: forwards of ", n_row, " rows are not recorded: ", obstacle));
  }
}

// The graph may be loaded twice.
void Emulator::add_note(const std::string& note) {
  if (engine_.note.find(note) != std::string::npos) return;
  engine_.note += (engine_.note.empty() ? "" : "; ") + note;
}

std::int64_t Emulator::wanted_micro_batch(const Options& options) {
  const std::string& path = options.text("tuning");
  if (path.empty()) return options.integer("micro_batch");
  const TuningKey key{processor_name(), options.integer("threads"), digest(), engine_.name,
                      engine_.precision};
  if (const auto tuned = tuned_micro_batch(path, key)) return *tuned;
  add_note(text(path, " has no micro-batch for ", key.threads, " thread(s) of ", key.processor,
                ", ", key.engine, " in ", key.precision, ": ", options.text("micro_batch"),
                " is used"));
  return options.integer("micro_batch");
}

const Layout& Emulator::layout(climlink_role role) const {
  if (role != CLIMLINK_INPUT && role != CLIMLINK_OUTPUT) {
    fail(CLIMLINK_ERROR_ARGUMENT, "role is ", static_cast<int>(role),
         "; expected CLIMLINK_INPUT (1) or CLIMLINK_OUTPUT (2)");
  }
  return role == CLIMLINK_INPUT ? manifest().inputs : manifest().outputs;
}

const Variable& Emulator::variable(climlink_role role, std::string_view name) const {
  const Layout& variables = layout(role);
  const std::int64_t index = variables.find(name);
  if (index >= 0) return variables.variables[static_cast<std::size_t>(index)];
  const Layout& others = layout(role == CLIMLINK_INPUT ? CLIMLINK_OUTPUT : CLIMLINK_INPUT);
  const std::string other_role =
      others.find(name) >= 0
          ? text(" It is an ", role_name(role == CLIMLINK_INPUT ? CLIMLINK_OUTPUT : CLIMLINK_INPUT),
                 ".")
          : "";
  fail(CLIMLINK_ERROR_VARIABLE, "\"", name, "\" is not an ", role_name(role), " of ",
       manifest().name, ", which has ", variables.variables.size(), ".", other_role,
       near_names(name, variables.names()));
}

void Emulator::place_rows(std::int64_t n_column) {
  const Manifest& m = manifest();
  if (group_ != nullptr) {
    const auto rows = group_->begin(n_column, m.inputs.width, m.outputs.width);
    x_ = rows.x;
    y_ = rows.y;
    use_ = rows.use;
    return;
  }
  own_x_.resize(static_cast<std::size_t>(n_column * m.inputs.width));
  own_y_.resize(static_cast<std::size_t>(n_column * m.outputs.width));
  if (range_policy_) own_use_.resize(static_cast<std::size_t>(n_column * range_use_width));
  x_ = own_x_.data();
  y_ = own_y_.data();
  use_ = own_use_.data();
}

void Emulator::begin(std::int64_t n_column) {
  const Manifest& m = manifest();
  if (group_ != nullptr) {
    group_->next_step();
    stage_ = Stage::idle;
  }
  in_step([&] {
    check_count(n_column, m);
    stage_ = Stage::idle;  // also where memory runs out below
    place_rows(n_column);
    is_set_.assign(m.inputs.variables.size() * static_cast<std::size_t>(n_column), 0);
    missing_count_.assign(m.inputs.variables.size(), n_column);
    n_column_ = n_column;
    stage_ = Stage::setting;
  });
}

void Emulator::set(std::string_view name, const climlink_array& values, std::int64_t first_column) {
  in_step([&] { set_in_step(name, values, first_column); });
}

void Emulator::set_in_step(std::string_view name, const climlink_array& values,
                           std::int64_t first_column) {
  if (stage_ != Stage::setting)
    fail(CLIMLINK_ERROR_STATE, name, ": set needs ", words().call("begin"),
         " first; every step starts with it");
  const Variable& v = variable(CLIMLINK_INPUT, name);
  const HostView view = checked_view(words(), values, v, first_column, n_column_);
  const auto index = static_cast<std::size_t>(&v - manifest().inputs.variables.data());
  const auto flags =
      is_set_.begin() + static_cast<std::ptrdiff_t>(index) * n_column_ + first_column;
  // Cleared before the copy: columns of a refused call count as unset.
  missing_count_[index] += std::count(flags, flags + view.n_column, std::uint8_t{1});
  std::fill_n(flags, view.n_column, std::uint8_t{0});
  const std::int64_t row_width = manifest().inputs.width;
  if (!pack(view, x_ + first_column * row_width + v.offset, row_width))
    fail_nonfinite_input(words(), view, v, first_column);
  std::fill_n(flags, view.n_column, std::uint8_t{1});
  missing_count_[index] -= view.n_column;
}

bool Emulator::begins(std::int64_t sample) const {
  const Manifest& m = manifest();
  return x_[sample * m.inputs.width + m.inputs.variables[*m.start].offset] == 1.0F;
}

std::int64_t Emulator::missing(std::size_t variable) const {
  const Manifest& m = manifest();
  if (missing_count_[variable] == 0 || m.inputs.variables[variable].role != VariableRole::carried)
    return missing_count_[variable];
  if (missing_count_[*m.start] > 0) return 0;  // unknown before start is
  std::int64_t count = 0;
  for (std::int64_t c = 0; c < n_column_; ++c) {
    if (is_set_[variable * static_cast<std::size_t>(n_column_) + static_cast<std::size_t>(c)] ==
            0 &&
        !begins(c))
      ++count;
  }
  return count;
}

void Emulator::check_start(const float* x, std::int64_t n_column) const {
  const Manifest& m = manifest();
  if (!m.start) return;
  const Variable& start = m.inputs.variables[*m.start];
  for (std::int64_t c = 0; c < n_column; ++c) {
    const float value = x[c * m.inputs.width + start.offset];
    if (value == 0.0F || value == 1.0F) continue;
    fail(CLIMLINK_ERROR_ARGUMENT, start.name, ": sample ", words().counted_text(c), " has ", value,
         "; expected 1 where a sample begins, or 0 where its carried inputs are the carried "
         "outputs of the step before");
  }
}

void Emulator::complete_inputs() {
  const Manifest& m = manifest();
  if (m.start && missing_count_[*m.start] == 0) check_start(x_, n_column_);
  check_all_set();
  for (const auto& pair : m.carried) {
    const Variable& v = m.inputs.variables[pair.input];
    for (std::int64_t c = 0; c < n_column_; ++c) {
      if (begins(c)) std::fill_n(x_ + c * m.inputs.width + v.offset, v.width, 0.0F);
    }
  }
}

void Emulator::check_all_set() const {
  constexpr int most_listed = 5;
  std::string list;
  int unset = 0;
  for (std::size_t i = 0; i < missing_count_.size(); ++i) {
    const std::int64_t count = missing(i);
    if (count == 0) continue;
    if (++unset <= most_listed) {
      list += text(list.empty() ? "" : ", ", manifest().inputs.variables[i].name, " (", count,
                   " of ", n_column_, " columns missing)");
    }
  }
  if (unset == 0) return;
  if (unset > most_listed) list += text(" and ", unset - most_listed, " more");
  fail(CLIMLINK_ERROR_VARIABLE, unset, " input variable(s) of ", manifest().name,
       " are not set: ", list, ". Set every column of every input before run");
}

void Emulator::check_outputs(const float* y, std::int64_t n_column) const {
  const std::int64_t width = manifest().outputs.width;
  if (all_finite(y, n_column * width)) return;
  const float* bad =
      std::find_if(y, y + n_column * width, [](float value) { return !std::isfinite(value); });
  const std::int64_t position = (bad - y) % width;
  const Variable& v = manifest().outputs.owner(position);
  fail(CLIMLINK_ERROR_NONFINITE, place(words(), v, (bad - y) / width, position - v.offset),
       ": the network's output is ", shown_nonfinite(*bad),
       " although every input was finite. The inputs of that column are probably far outside the "
       "training range");
}

void Emulator::run() {
  in_step([&] {
    if (stage_ != Stage::setting)
      fail(CLIMLINK_ERROR_STATE, "run needs ", words().call("begin"),
           " and every input set; every step starts with ", words().call("begin"));
    complete_inputs();
    stage_ = Stage::failed;
    if (group_ == nullptr)
      runner_->run(x_, n_column_, y_);
    else
      group_->run(Group::Call::run,
                  [this](const Group::Rows& rows) { runner_->run(rows.x, rows.n_column, rows.y); });
    check_outputs(y_, n_column_);
    stage_ = Stage::done;
  });
}

void Emulator::range_use(std::int64_t n_column, double* clipped, double* heating,
                         double* mass_share) {
  in_step([&] {
    if (stage_ == Stage::idle)
      fail(CLIMLINK_ERROR_STATE, "range_use needs ", words().call("begin"), " and every input set");
    if (n_column != n_column_) {
      fail(CLIMLINK_ERROR_SHAPE, "range_use: n_column is ", n_column, "; this step has ", n_column_,
           " columns, as ", words().call("begin"), " was told");
    }
    if (stage_ == Stage::setting) complete_inputs();
    if (range_policy_) find_range_use();
    for (std::int64_t c = 0; c < n_column; ++c) {
      const double* use = use_ + c * range_use_width;
      clipped[c] = range_policy_ ? use[0] : 0.0;
      heating[c] = range_policy_ ? use[1] : 0.0;
      mass_share[c] = range_policy_ ? use[2] : 0.0;
    }
  });
}

void Emulator::find_range_use() {
  if (group_ == nullptr) return runner_->range_use(x_, n_column_, use_);
  group_->run(Group::Call::range_use, [this](const Group::Rows& rows) {
    runner_->range_use(rows.x, rows.n_column, rows.use);
  });
}

void Emulator::get(std::string_view name, const climlink_array& values,
                   std::int64_t first_column) const {
  if (stage_ == Stage::failed)
    fail(CLIMLINK_ERROR_STATE, name, ": the last ", words().call("run"),
         " failed, so there is no output; start a new step with ", words().call("begin"));
  if (stage_ != Stage::done)
    fail(CLIMLINK_ERROR_STATE, name, ": get needs a ", words().call("run"), " of this step first");
  const Variable& v = variable(CLIMLINK_OUTPUT, name);
  const HostView view = checked_view(words(), values, v, first_column, n_column_);
  const std::int64_t row_width = manifest().outputs.width;
  unpack(y_ + first_column * row_width + v.offset, row_width, view);
}

void Emulator::check_packed_inputs(const float* x, std::int64_t n_column) const {
  const std::int64_t width = manifest().inputs.width;
  if (all_finite(x, n_column * width)) return;
  const float* bad =
      std::find_if(x, x + n_column * width, [](float value) { return !std::isfinite(value); });
  const std::int64_t position = (bad - x) % width;
  const Variable& v = manifest().inputs.owner(position);
  fail(CLIMLINK_ERROR_NONFINITE, place(words(), v, (bad - x) / width, position - v.offset), ": ",
       shown_nonfinite(*bad),
       " where a finite value is needed. Look for the cause in the host's state of that column");
}

void Emulator::run_packed(const float* x, std::int64_t n_column, std::int64_t n_input, float* y,
                          std::int64_t n_output) {
  const Manifest& m = manifest();
  if (group_ != nullptr)
    fail(CLIMLINK_ERROR_STATE, "packed rows: this rank shares its network with a group; use ",
         words().call("begin"), ", set, run and get, or open without a group");
  check_count(n_column, m);
  if (n_input != m.inputs.width || n_output != m.outputs.width) {
    fail(CLIMLINK_ERROR_SHAPE, "packed rows: expected ", m.inputs.width, " inputs and ",
         m.outputs.width, " outputs per column, got ", n_input, " and ", n_output);
  }
  if (n_column == 0) return;
  if (x == nullptr || y == nullptr)
    fail(CLIMLINK_ERROR_ARGUMENT, "packed rows: ", x == nullptr ? "x" : "y", " is a null pointer");
  check_packed_inputs(x, n_column);
  check_start(x, n_column);
  runner_->run(x, n_column, y);
  check_outputs(y, n_column);
}

}  // namespace climlink
