// Compiled forwards: the only file beside its source that knows AOTInductor.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "device.hpp"

namespace climlink {

// The forward of a shared object that AOTInductor made, loaded already at this path; its input must
// be contiguous and of the widths it was compiled for, which its code does not check. Throws what
// libtorch throws.
std::function<at::Tensor(at::Tensor)> compiled_forward(const std::string& library_path,
                                                       const Device& device);

}  // namespace climlink
