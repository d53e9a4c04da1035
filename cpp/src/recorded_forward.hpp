// A forward of one number of rows that a device has recorded (a CUDA graph): all its kernels start
// with one call instead of one by one.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/version.h>

#include <memory>
#include <string>

#include "graph_function.hpp"

#if TORCH_VERSION_MINOR >= 12 && __has_include(<ATen/accelerator/Graph.h>)
#define CLIMLINK_RECORDS_GRAPHS 1
#include <ATen/accelerator/Graph.h>
#endif

namespace climlink {

// Why this libtorch records nothing on a device; "" where it does.
std::string recording_obstacle(c10::Device device);

class RecordedForward {
 public:
  // Runs call on input once more and records it, on the current stream. Throws what libtorch throws
  // where something in it cannot be recorded, such as a value that the host waits for.
  RecordedForward(const Function& call, at::Tensor input);

  // Where the rows of the next replay belong.
  at::Tensor& input() { return input_; }
  // The result, in memory that the next replay writes again.
  const c10::IValue& replay();

 private:
  at::Tensor input_;
  c10::IValue output_;
#ifdef CLIMLINK_RECORDS_GRAPHS
  std::unique_ptr<at::accelerator::Graph> graph_;
#endif
};

}  // namespace climlink
