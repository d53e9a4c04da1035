// What the parts of the C interface to TorchScript files (torchscript.h) share, on libtorch.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>

#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "climlink/torchscript.h"
#include "error.hpp"
#include "handle_table.hpp"
#include "torch_support.hpp"

namespace climlink {

struct LoadedModule {
  torch::jit::Module module;
  std::string path;
  c10::Device device;
  std::string device_text;
  std::vector<std::pair<std::string, at::Tensor>>
      parameters;  // by name, in the module's order; they share its memory
};

using TensorTable = HandleTable<climlink_tensor, at::Tensor, 1>;
using ModuleTable = HandleTable<climlink_module, LoadedModule, 2>;

TensorTable& tensors();
ModuleTable& modules();

// Throws Error: ARGUMENT.
at::ScalarType scalar_type(climlink_kind kind);

// The kind of a tensor that a module or an operation made; throws Error SHAPE for kinds that no
// host array has.
climlink_kind kind_of(const at::Tensor& t);

// ATen's first call on a thread gives it a number of threads of ATen's own. It is made here, and
// undone, so that the first operation has the caller's number as all later ones have.
void keep_host_threads() noexcept;

// Runs a libtorch call with gradients off; what it throws names the operation.
template <class Call>
auto with_torch(const std::string& doing, const Call& call) {
  const c10::InferenceMode inference;
  try {
    keep_host_threads();
    return call();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_BACKEND, "libtorch failed ", doing, ": ", reason(error));
  }
}

// Copies values between tensors of one shape. Throws Error: SHAPE, also where kinds differ and
// convert is false.
void copy_values(const at::Tensor& source, const at::Tensor& target, bool convert,
                 bool non_blocking);

// Marks a tensor as one whose gradient is wanted, which no graph follows. Throws Error: SHAPE if
// the tensor holds integers.
void require_gradient(const at::Tensor& t, bool required);

}  // namespace climlink
