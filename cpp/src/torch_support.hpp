// What the files that know libtorch share. What differs between libtorch 2.6 and today's stands in
// torch_support.cpp only.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "device.hpp"

namespace climlink {

// TorchScript wraps the reason in pages of traceback; the reason is its last "...Error: " line.
std::string reason(const std::exception& error);

c10::Device torch_device(const Device& device);

// Such as "Float [16, 368]".
std::string shape_of(const at::Tensor& t);

// Whether the code of an archive is looked at before it can run (code_check.hpp), or the host
// trusts the file.
enum class Code { checked, trusted };

// The module in these bytes, on a device; name is used in messages. Throws Error: PACKAGE if they
// hold none, GRAPH if their code does more than compute, BACKEND if the device fails.
torch::jit::Module deserialize(std::string_view bytes, const std::string& name, c10::Device device,
                               Code code);

// Keeps float32 arithmetic float32 for one scope (no TF32, no bfloat16 inside), whatever the
// process has chosen for its own use.
class Float32Scope {
 public:
  explicit Float32Scope(const Device& device);
  ~Float32Scope();
  Float32Scope(const Float32Scope&) = delete;
  Float32Scope& operator=(const Float32Scope&) = delete;

 private:
  std::function<void()> give_back_;
};

}  // namespace climlink
