#include "host_state.hpp"

#include <dlfcn.h>

#include <cstddef>

namespace climlink {
namespace {

#if defined(__APPLE__)
constexpr const char* libtorch = "libtorch_cpu.dylib";
#else
constexpr const char* libtorch = "libtorch_cpu.so";
#endif

// Null functions where the process has no such library.
struct OpenMp {
  int (*get)() = nullptr;
  void (*set)(int) = nullptr;
};

// Sets the calling thread's number and returns the one before; 0 is "none of its own".
using MklExchange = int (*)(int);

template <class Function>
Function found(void* scope, const char* name) noexcept {
  return reinterpret_cast<Function>(dlsym(scope, name));
}

// Of the host and of libtorch, which are one where the host has no OpenMP, or the same. libtorch's
// own calls are bound to the host's runtime where the host was linked with one, and to libtorch's
// otherwise. Without libtorch there is nothing to find.
struct Runtimes {
  std::array<OpenMp, 2> openmp;
  std::array<MklExchange, 2> mkl{};

  Runtimes() noexcept {
    void* const torch = dlopen(libtorch, RTLD_LAZY | RTLD_NOLOAD);
    look_in(RTLD_DEFAULT, 0);
    if (torch != nullptr) look_in(torch, 1);
    if (openmp[1].set == openmp[0].set) openmp[1] = {};
    if (mkl[1] == mkl[0]) mkl[1] = nullptr;
  }

 private:
  void look_in(void* scope, std::size_t i) noexcept {
    const OpenMp runtime{found<int (*)()>(scope, "omp_get_max_threads"),
                         found<void (*)(int)>(scope, "omp_set_num_threads")};
    if (runtime.get != nullptr && runtime.set != nullptr) openmp[i] = runtime;
    mkl[i] = found<MklExchange>(scope, "MKL_Set_Num_Threads_Local");
  }
};

const Runtimes& runtimes() noexcept {
  static const Runtimes all;
  return all;
}

}  // namespace

HostThreads::HostThreads() noexcept {
  const Runtimes& r = runtimes();
  for (std::size_t i = 0; i < openmp_.size(); ++i) {
    if (r.openmp[i].get != nullptr) openmp_[i] = r.openmp[i].get();
    if (r.mkl[i] == nullptr) continue;
    mkl_[i] = r.mkl[i](0);  // there is no query
    r.mkl[i](mkl_[i]);
  }
}

HostThreads::~HostThreads() {
  const Runtimes& r = runtimes();
  for (std::size_t i = 0; i < openmp_.size(); ++i) {
    if (r.openmp[i].get != nullptr && r.openmp[i].get() != openmp_[i]) r.openmp[i].set(openmp_[i]);
    if (r.mkl[i] != nullptr) r.mkl[i](mkl_[i]);
  }
}

}  // namespace climlink
