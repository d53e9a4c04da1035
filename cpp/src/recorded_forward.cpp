#include "recorded_forward.hpp"

#include <utility>

#include "error.hpp"

namespace climlink {

#ifdef CLIMLINK_RECORDS_GRAPHS

std::string recording_obstacle(c10::Device device) {
  if (at::has_graph_impl(device.type())) return "";
  return text("this libtorch records no graphs on ", device.str());
}

RecordedForward::RecordedForward(const Function& call, at::Tensor input)
    : input_(std::move(input)), graph_(std::make_unique<at::accelerator::Graph>()) {
  // Of this thread only: what other threads of the host do on the device is theirs.
  graph_->capture_begin({0, 0}, at::GraphCaptureMode::ThreadLocal);
  try {
    output_ = call(input_);
  } catch (...) {
    try {
      graph_->capture_end();  // else the stream would go on recording
    } catch (const std::exception&) {
      // The capture was broken already; the first reason is the one to tell.
    }
    throw;
  }
  graph_->capture_end();
}

const c10::IValue& RecordedForward::replay() {
  graph_->replay();
  return output_;
}

#else

std::string recording_obstacle(c10::Device /*device*/) {
  return text("libtorch ", TORCH_VERSION, " records no graphs from C++ alone; 2.13 does");
}

RecordedForward::RecordedForward(const Function& /*call*/, at::Tensor /*input*/) {
  fail(CLIMLINK_ERROR_INTERNAL, "nothing can be recorded with this libtorch");
}

const c10::IValue& RecordedForward::replay() { return output_; }

#endif

}  // namespace climlink
