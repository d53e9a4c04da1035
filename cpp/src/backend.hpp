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

// The columns of one call: x [n_column, n_input], float32 rows in C order in host memory. The
// network runs on n_row of them, n_column or more; those beyond repeat the last column.
struct Rows {
  const float* x = nullptr;
  std::int64_t n_column = 0;
  std::int64_t n_row = 0;
  std::int64_t n_input = 0;
};

// A loaded network on its device.
class Backend {
 public:
  Backend() = default;
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // y [n_column, n_output] = network(rows), float32 in C order in host memory. Throws Error: GRAPH
  // if the result is not one float32 tensor [n_row, n_output], BACKEND if the library fails.
  virtual void forward(const Rows& rows, float* y, std::int64_t n_output) = 0;

  // use [n_column, range_use_width] = the graph's method range_use of the rows, without the
  // network. Loaded with range_policy only. Throws as forward does.
  virtual void range_use(const Rows& rows, double* use) = 0;

  // Records the forward of so many rows, which has run before, so that later ones are replayed from
  // it. Returns why that cannot be, "" where it is done; forward then runs as before.
  virtual std::string record(const Rows& rows) = 0;
};

// Per column: values clipped, heating by relaxation in W/m2, share of the mass relaxed (docs of
// WrappedEmulator.range_use).
constexpr std::int64_t range_use_width = 3;

// "torchscript" or "stub".
std::string_view backend_name() noexcept;

// The libtorch whose compiled artefacts can run, such as "2.13.0"; "" where none can.
std::string_view compiled_version() noexcept;

// Devices of a kind that this process sees; of any but the CPU, counting starts the driver.
int backend_device_count(DeviceKind kind);

// Bytes of a device; 0 where libtorch does not tell, and on the CPU.
struct DeviceMemory {
  std::int64_t held = 0;  // by torch's allocator in this process, with what it keeps for later
  std::int64_t free = 0;  // of the device, for all processes
  std::int64_t total = 0;
};

DeviceMemory backend_device_memory(const Device& device);

// Lets torch's allocator in this process take at most this part of a device's memory, 0 to 1; 0
// leaves it as it is. Throws Error(BACKEND) where that cannot be set.
void cap_device_memory(const Device& device, double fraction);

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
