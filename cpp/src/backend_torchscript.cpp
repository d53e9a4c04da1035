// The backend of packages on libtorch: TorchScript, or compiled code in place of its forward.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <map>
#include <utility>

#include "backend.hpp"
#include "backend_aotinductor.hpp"
#include "error.hpp"
#include "graph_function.hpp"
#include "recorded_forward.hpp"
#include "staging.hpp"
#include "torch_support.hpp"

namespace climlink {
namespace {

// Sets the intra-operator threads for one scope, so that a Python process or another library keeps
// its own number.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(at::get_num_threads()), changed_(before_ != threads) {
    if (changed_) at::set_num_threads(threads);
  }
  ~ThreadScope() {
    if (changed_) at::set_num_threads(before_);
  }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
  bool changed_;
};

class LibtorchBackend final : public Backend {
 public:
  LibtorchBackend(Function forward, Function range_use, Staging staging, const Device& device,
                  int threads)
      : forward_(std::move(forward)),
        range_use_(std::move(range_use)),
        staging_(std::move(staging)),
        device_(device),
        threads_(threads) {}

  void forward(const Rows& rows, float* y, std::int64_t n_output) override {
    const auto answer = [&] {
      const auto recorded = recorded_.find(rows.n_row);
      if (recorded == recorded_.end()) return forward_(staging_.bring(rows));
      staging_.bring_into(rows, recorded->second.input());
      return recorded->second.replay();
    };
    compute(answer, {"the graph", "the manifest says", n_output}, rows, y);
  }

  void range_use(const Rows& rows, double* use) override {
    const auto answer = [&] { return range_use_(staging_.bring(rows)); };
    compute(answer, {"range_use of the graph", "expected", range_use_width}, rows, use);
  }

  std::string record(const Rows& rows) override {
    const c10::InferenceMode inference;
    const ThreadScope threads(threads_);
    const Float32Scope precision(device_);
    try {
      const c10::OptionalStreamGuard stream(staging_.stream());
      std::string obstacle = recording_obstacle(torch_device(device_));
      if (obstacle.empty()) recorded_.try_emplace(rows.n_row, forward_, staging_.bring(rows));
      return obstacle;
    } catch (const std::exception& error) {
      return reason(error);
    }
  }

 private:
  // What a call must give, and the words for it in messages.
  struct Answer {
    const char* what;
    const char* wanted;
    std::int64_t width;
  };

  // y [n_column, answer.width] of type Value = what call gives.
  template <class Value, class Call>
  void compute(const Call& call, const Answer& answer, const Rows& rows, Value* y) {
    const c10::InferenceMode inference;
    const ThreadScope threads(threads_);
    const Float32Scope precision(device_);
    try {
      const c10::OptionalStreamGuard stream(staging_.stream());
      const at::Tensor output = checked<Value>(call(), answer, rows.n_row);
      staging_.fetch(output, rows.n_column, y);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      fail(CLIMLINK_ERROR_BACKEND, "libtorch failed on float32 [", rows.n_row, ", ", rows.n_input,
           "]: ", reason(error));
    }
  }

  template <class Value>
  static at::Tensor checked(const c10::IValue& result, const Answer& answer, std::int64_t n_row) {
    constexpr at::ScalarType type = c10::CppTypeToScalarType<Value>::value;
    if (!result.isTensor()) {
      fail(CLIMLINK_ERROR_GRAPH, answer.what, " returns a ", result.tagKind(), "; expected one ",
           c10::toString(type), " tensor [", n_row, ", ", answer.width, "]");
    }
    const at::Tensor& t = result.toTensor();
    if (t.scalar_type() != type || t.dim() != 2 || t.size(0) != n_row ||
        t.size(1) != answer.width) {
      fail(CLIMLINK_ERROR_GRAPH, answer.what, " returns ", shape_of(t), "; ", answer.wanted, " ",
           c10::toString(type), " [", n_row, ", ", answer.width, "]");
    }
    return t;
  }

  Function forward_, range_use_;
  Staging staging_;
  Device device_;
  int threads_;
  std::map<std::int64_t, RecordedForward> recorded_;  // by rows
};

Function compiled_function(const std::string& library, const std::string& name,
                           const Device& device) {
  try {
    return compiled_forward(library, device);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_BACKEND, name,
         ": libtorch does not take the compiled code: ", reason(error));
  }
}

// Of the module before freezing, which keeps forward alone and is left to do so: forward's bits do
// not depend on whether this is kept. The weights are the same tensors in both.
Function range_use_of(const torch::jit::Module& module, const std::string& name,
                      const Device& device) {
  const auto method = module.find_method("range_use");
  if (!method) {
    fail(CLIMLINK_ERROR_GRAPH, name,
         ": the manifest has a range policy, but the graph has no method range_use that tells how "
         "much it is needed, as it was exported by an older climlink. Export the package again");
  }
  return method_function(*method, device);
}

// The submodule of one constraint; wrappers/constraints keeps rules and their names in one order.
// Throws what libtorch throws if there is none.
torch::jit::Module rule_of(const torch::jit::Module& module, const std::string& constraint) {
  const torch::jit::Module sequence = module.attr("constraints").toModule();
  const auto names = sequence.attr("names").toListRef();
  const auto found = std::find_if(names.begin(), names.end(), [&](const c10::IValue& n) {
    return n.toStringRef() == constraint;
  });
  return sequence.attr("rules").toModule().attr(std::to_string(found - names.begin())).toModule();
}

// Outputs that exist through this constraint only; "" if its switch is now off.
std::string switched_off(const torch::jit::Module& module, const std::string& constraint,
                         const std::string& name) {
  try {
    torch::jit::Module rule = rule_of(module, constraint);
    std::string makes = rule.attr("makes").toStringRef();
    if (makes.empty()) rule.setattr("enabled", false);
    return makes;
  } catch (const std::exception&) {
    fail(CLIMLINK_ERROR_ARGUMENT, name, ": the constraint \"", constraint,
         "\" cannot be switched off: the graph has no switch for it, as it was exported by an "
         "older climlink. Export the package again");
  }
}

void switch_off(const torch::jit::Module& module, const std::vector<std::string>& constraints,
                const std::string& name) {
  for (const auto& constraint : constraints) {
    const std::string makes = switched_off(module, constraint, name);
    if (makes.empty()) continue;
    fail(CLIMLINK_ERROR_ARGUMENT, name, ": the constraint \"", constraint,
         "\" cannot be switched off: ", makes,
         " would not exist without it. Take it out of constraints_off");
  }
}

}  // namespace

std::string_view backend_name() noexcept { return "torchscript"; }

int backend_device_count(DeviceKind kind) {
  const c10::DeviceType type = torch_device({kind, 0}).type();
  if (!c10::impl::hasDeviceGuardImpl(type)) return 0;
  return c10::impl::VirtualGuardImpl(type).deviceCount();
}

std::unique_ptr<Backend> load_backend(std::string_view bytes, const std::string& name,
                                      const Device& device, int threads,
                                      const std::vector<std::string>& constraints_off,
                                      bool range_policy, bool trust_code,
                                      const std::string& library) {
  const c10::InferenceMode inference;
  const ThreadScope scope(threads);
  Staging staging(torch_device(device));
  const c10::OptionalStreamGuard stream(staging.stream());
  Function forward, range_use;
  if (!library.empty()) forward = compiled_function(library, name, device);
  if (library.empty() || range_policy) {
    torch::jit::Module module =
        deserialize(bytes, name, torch_device(device), trust_code ? Code::trusted : Code::checked);
    switch_off(module, constraints_off, name);
    module.eval();
    if (range_policy) range_use = range_use_of(module, name, device);
    if (library.empty()) forward = frozen_function(module, name, device);
  }
  return std::make_unique<LibtorchBackend>(std::move(forward), std::move(range_use),
                                           std::move(staging), device, threads);
}

void check_code(std::string_view bytes, const std::string& name) {
  deserialize(bytes, name, c10::Device(c10::kCPU), Code::checked);
}

}  // namespace climlink
