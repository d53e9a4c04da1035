// Test only: the backend that does nothing.
#ifndef E3SM_EMULATOR_STUB_INFERENCE_BACKEND_HPP
#define E3SM_EMULATOR_STUB_INFERENCE_BACKEND_HPP

#include "inference_backend.hpp"

namespace emulator {
namespace inference {

class StubBackend : public InferenceBackend {
 public:
  explicit StubBackend(const InferenceConfig& config) : InferenceBackend(config) {}
  bool infer(const double* inputs, double* outputs, int batch_size = 1) override;
  void finalize() override {}
  std::string name() const override { return "Stub"; }
};

}  // namespace inference
}  // namespace emulator

#endif
