// Test only: E3SM master's factory, declared again.
#ifndef E3SM_EMULATOR_CREATE_INFERENCE_BACKEND_HPP
#define E3SM_EMULATOR_CREATE_INFERENCE_BACKEND_HPP

#include <memory>

#include "inference_backend.hpp"

namespace emulator {
namespace inference {

std::shared_ptr<InferenceBackend> create_backend(BackendType type, const InferenceConfig& config);

}  // namespace inference
}  // namespace emulator

#endif
