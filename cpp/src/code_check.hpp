// A package is code. What its TorchScript may do is looked at before any of it runs.
#pragma once

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/api/module.h>

#include <string>

namespace climlink {

// Before deserialization, through libtorch's own reader: refuses what would run, or make objects of
// C++ classes, while the archive is loaded (__setstate__, torch.classes, the format before torch
// 1.4), and what would exhaust its parsers. Throws Error: GRAPH or PACKAGE.
void check_code_entries(caffe2::serialize::PyTorchStreamReader& archive, const std::string& name);

// After deserialization and before freezing or any forward: refuses operators that do more than
// compute, in every function of the module's compilation unit, nested blocks and graphs included.
// Throws Error(GRAPH).
void check_operators(const torch::jit::Module& module, const std::string& name);

}  // namespace climlink
