// Test only: the factory behaves as E3SM master's, where every type that is not known is the stub.
#include "create_inference_backend.hpp"

#include "stub_inference_backend.hpp"

namespace emulator {
namespace inference {

std::shared_ptr<InferenceBackend> create_backend(BackendType type, const InferenceConfig& config) {
  switch (type) {
    case BackendType::STUB:
      return std::make_shared<StubBackend>(config);
    default:
      return std::make_shared<StubBackend>(config);
  }
}

}  // namespace inference
}  // namespace emulator
