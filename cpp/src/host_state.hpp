// What a host has set for its own thread and must find again after every call: floating-point
// environment and thread counts.
#pragma once

#include <array>
#include <cfenv>

namespace climlink {

// Numbers of threads for one scope: what the OpenMP runtimes and MKL give the calling thread is as
// before afterwards. ATen sets them in its first call on a thread, and whenever its own number
// changes; then the host's parallel regions would have that many threads.
class HostThreads {
 public:
  HostThreads() noexcept;
  ~HostThreads();
  HostThreads(const HostThreads&) = delete;
  HostThreads& operator=(const HostThreads&) = delete;

 private:
  std::array<int, 2> openmp_{};
  std::array<int, 2> mkl_{};
};

// Around every call of the C interfaces, before libtorch is touched. Casts to float32 that are
// refused a moment later, and libtorch's kernels (a NaN that a mask takes out again), raise
// invalid, overflow and division by zero without harm; with the traps that debug builds of models
// arm they would end the program. Traps are off inside; traps, flags, rounding and thread counts of
// the host are as before afterwards. It holds for the calling thread and for threads that are made
// inside the scope.
class HostState {
 public:
  HostState() noexcept { std::feholdexcept(&floating_point_); }
  ~HostState() { std::fesetenv(&floating_point_); }
  HostState(const HostState&) = delete;
  HostState& operator=(const HostState&) = delete;

 private:
  HostThreads threads_;
  std::fenv_t floating_point_{};
};

}  // namespace climlink
