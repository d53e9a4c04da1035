// Test only: E3SM master's interface, declared again.
#ifndef E3SM_EMULATOR_INFERENCE_BACKEND_HPP
#define E3SM_EMULATOR_INFERENCE_BACKEND_HPP

#include <string>

namespace emulator {
namespace inference {

enum class BackendType {
  STUB,  // no network
};

struct InferenceConfig {
  int input_channels = 0;
  int output_channels = 0;
  bool verbose = false;
};

class InferenceBackend {
 public:
  explicit InferenceBackend(const InferenceConfig& config) : m_config(config) {}
  virtual ~InferenceBackend() = default;
  virtual bool infer(const double* inputs, double* outputs, int batch_size = 1) = 0;
  virtual void finalize() = 0;
  virtual std::string name() const = 0;

 protected:
  InferenceConfig m_config;
};

}  // namespace inference
}  // namespace emulator

#endif
