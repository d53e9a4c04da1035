// Floating-point traps of the host, which debug builds of models arm.
#pragma once

#include <cfenv>

namespace climlink {

// Traps off for one scope. Casts to float32 that are refused a moment later, and libtorch's kernels (a NaN that a mask takes out again),
// raise invalid, overflow and division by zero without harm; with the host's traps armed they would end the program. Traps, flags and
// rounding of the host are as before afterwards. It holds for the calling thread and for threads that are made inside the scope.
class HostTrapsOff {
 public:
  HostTrapsOff() noexcept { std::feholdexcept(&host_); }
  ~HostTrapsOff() { std::fesetenv(&host_); }
  HostTrapsOff(const HostTrapsOff&) = delete;
  HostTrapsOff& operator=(const HostTrapsOff&) = delete;

 private:
  std::fenv_t host_{};
};

}  // namespace climlink
