// A framework with the insertions, built without the option, refuses the type instead of taking the
// stub.
#include <stdexcept>
#include <string>

#include "create_inference_backend.hpp"

using emulator::inference::BackendType;
using emulator::inference::create_backend;

int main() {
  if (create_backend(BackendType::STUB, {})->name() != "Stub") return 1;
  try {
    create_backend(BackendType::LIBTORCH, {});
  } catch (const std::runtime_error& error) {
    return std::string(error.what()).find("EMULATOR_ENABLE_CLIMLINK") == std::string::npos;
  }
  return 1;
}
