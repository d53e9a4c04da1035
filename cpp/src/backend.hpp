// What the runtime needs from a machine-learning library. One backend is compiled in:
// backend_torchscript.cpp or backend_stub.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device.hpp"

namespace climlink {

// A loaded network on its device.
class Backend {
 public:
  Backend() = default;
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // y [n_row, n_output] = network(x [n_row, n_input]), float32 rows in C order in host memory.
  // Throws Error: GRAPH if the result is not one float32 tensor of that shape, BACKEND if the
  // library fails.
  virtual void forward(const float* x, std::int64_t n_row, std::int64_t n_input, float* y,
                       std::int64_t n_output) = 0;

  // use [n_row, range_use_width] = the graph's method range_use of x, without the network. Loaded
  // with range_policy only. Throws as forward does.
  virtual void range_use(const float* x, std::int64_t n_row, std::int64_t n_input, double* use) = 0;
};

// Per column: values clipped, heating by relaxation in W/m2, share of the mass relaxed (docs of
// WrappedEmulator.range_use).
constexpr std::int64_t range_use_width = 3;

// "torchscript" or "stub".
std::string_view backend_name() noexcept;

// The libtorch whose compiled artefacts can run, such as "2.13.0"; "" where none can.
std::string_view compiled_version() noexcept;

// CUDA devices that this process sees.
int backend_device_count();

// Loads, places and freezes a package; bytes are needed during the call only. threads:
// intra-operator threads of every forward. constraints_off: constraints of the manifest whose
// switch in the graph is turned off before it is frozen. range_policy: range_use will be called.
// trust_code: what the graph may do is not checked. library: path of compiled code
// that runs instead of the graph's forward (shared_object.hpp), "" for none; the graph is then
// loaded for range_use only. Throws Error: PACKAGE if the bytes are not a TorchScript module, GRAPH
// if its code does more than compute or has no range_use that is asked for, ARGUMENT if the graph
// has no switch for a constraint or an output needs it, BACKEND otherwise.
std::unique_ptr<Backend> load_backend(std::string_view bytes, const std::string& name,
                                      const Device& device, int threads,
                                      const std::vector<std::string>& constraints_off,
                                      bool range_policy, bool trust_code,
                                      const std::string& library);

// The check of a graph's code that load_backend makes, by itself. Throws Error: PACKAGE, GRAPH or
// BACKEND.
void check_code(std::string_view bytes, const std::string& name);

}  // namespace climlink
