// Functions of a TorchScript module, executed as fits the device.
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <string>

#include "device.hpp"

namespace climlink {

// What a backend calls with contiguous rows.
using Function = std::function<c10::IValue(at::Tensor)>;

// The module's forward, frozen. Throws Error(BACKEND).
Function frozen_function(const torch::jit::Module& module, const std::string& name,
                         const Device& device);

// A method of the module as it is.
Function method_function(const torch::jit::Method& method, const Device& device);

}  // namespace climlink
