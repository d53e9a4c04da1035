// Memory of devices: what torch's allocator holds there, and a cap on it.
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "backend.hpp"
#include "error.hpp"
#include "torch_support.hpp"

#ifdef CLIMLINK_CUDA_HEADERS
#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#endif

namespace climlink {
namespace {

// A template, so that it compiles with a libtorch whose allocators do not tell (before 2.9): then
// its parts are left out.
template <class Type>
DeviceMemory told_on(Type type, c10::DeviceIndex index) {
  DeviceMemory memory;
  if constexpr (requires { getDeviceAllocator(type); }) {
    auto* allocator = getDeviceAllocator(type);
    if (allocator->initialized())
      memory.held = allocator->getDeviceStats(index).reserved_bytes[0].current;
    if constexpr (requires { allocator->getMemoryInfo(index); }) {
      const auto [free, total] = allocator->getMemoryInfo(index);
      memory.free = static_cast<std::int64_t>(free);
      memory.total = static_cast<std::int64_t>(total);
    }
  }
  return memory;
}

}  // namespace

DeviceMemory backend_device_memory(const Device& device) {
  if (device.on_host()) return {};
  const c10::Device place = torch_device(device);
  try {
    return told_on(place.type(), place.index());
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_BACKEND, "libtorch does not tell the memory of ", device.text(), ": ",
         reason(error));
  }
}

// Not among what torch offers for every device: libtorch's CUDA part has it, whose headers need
// CUDA's.
void cap_device_memory(const Device& device, double fraction) {
  if (fraction == 0 || device.on_host()) return;
#ifdef CLIMLINK_CUDA_HEADERS
  if (device.kind == DeviceKind::cuda) {
    try {
      at::globalContext().lazyInitDevice(c10::kCUDA);
      c10::cuda::CUDACachingAllocator::setMemoryFraction(
          fraction, static_cast<c10::DeviceIndex>(device.index));
    } catch (const std::exception& error) {
      fail(CLIMLINK_ERROR_BACKEND, "option device_memory_fraction: ", reason(error));
    }
    return;
  }
#endif
  fail(CLIMLINK_ERROR_BACKEND, "option device_memory_fraction is ", fraction,
       ", but this climlink can set no cap on ", device.text(),
       ": it was built without CUDA's headers or for another kind of device. Build it where CMake "
       "finds cuda_runtime_api.h and libtorch's CUDA part, or leave the option at 0");
}

}  // namespace climlink
