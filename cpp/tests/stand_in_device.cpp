// CUDA devices made of host memory, for a libtorch without CUDA: its own dispatcher, guards,
// streams, allocators and graphs, with operators that run on the CPU. It has what this project asks
// of a device, and fails where a device would (a value that the host waits for during a recording).
#include "stand_in_device.hpp"

#include <ATen/Context.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/GraphImplInterface.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <atomic>
#include <functional>
#include <set>
#include <vector>

namespace stand_in {

Counts& counts() {
  static Counts counted;
  return counted;
}

namespace {

thread_local c10::DeviceIndex current_device = 0;
thread_local std::array<c10::StreamId, n_device> current_stream{};

// Memory -------------------------------------------------------------------------------------

std::atomic<std::int64_t> memory_limit{0}, memory_used{0};

void free_memory(void* block) {
  auto* start = static_cast<std::int64_t*>(block) - 8;
  memory_used -= *start;
  c10::free_cpu(start);
}

struct Memory final : c10::DeviceAllocator {
  c10::DataPtr allocate(std::size_t n) override {
    const auto bytes = static_cast<std::int64_t>(n);
    if (memory_limit > 0 && memory_used + bytes > memory_limit)
      TORCH_CHECK_WITH(OutOfMemoryError, false, "stand-in out of memory: ", bytes, " bytes");
    memory_used += bytes;
    auto* start = static_cast<std::int64_t*>(c10::alloc_cpu(n + 64));
    *start = bytes;
    void* block = start + 8;
    return {block, block, &free_memory, c10::Device(c10::kCUDA, current_device)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_memory; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t /*pool*/) override {}
  void recordStream(const c10::DataPtr& /*block*/, c10::Stream /*stream*/) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex /*index*/) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.reserved_bytes[0].current = memory_used;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex /*index*/) override {}
  void resetPeakStats(c10::DeviceIndex /*index*/) override {}
  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex /*index*/) override {
    return {std::size_t{1} << 30, std::size_t{1} << 32};
  }
};

std::set<const void*>& pinned_blocks() {
  static std::set<const void*> blocks;
  return blocks;
}

struct Pinned final : at::HostAllocator {
  at::DataPtr allocate(std::size_t n) override {
    void* block = c10::alloc_cpu(n);
    pinned_blocks().insert(block);
    return {block, block, &release, at::kCPU};
  }
  static void release(void* block) {
    pinned_blocks().erase(block);
    c10::free_cpu(block);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }
  bool record_event(void* /*block*/, void* /*context*/, c10::Stream /*stream*/) override {
    return true;
  }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}
};

Memory memory;
Pinned pinned;

bool is_pinned(const at::Tensor& t) { return pinned_blocks().count(t.storage().data()) != 0; }

// Devices and streams ------------------------------------------------------------------------

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device getDevice() const override { return {c10::kCUDA, current_device}; }
  void setDevice(c10::Device device) const override { current_device = device.index(); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    current_device = device.index();
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  static c10::Stream stream(c10::Device device, c10::StreamId id) {
    return c10::Stream(c10::Stream::UNSAFE, device, id);
  }
  c10::StreamId& current(c10::Device device) const {
    return current_stream.at(static_cast<std::size_t>(device.index()));
  }
  c10::Stream getStream(c10::Device device) const override {
    return stream(device, current(device));
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream(device, 0); }
  c10::Stream getNewStream(c10::Device device, int /*priority*/) const override {
    return stream(device, 2);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool /*high*/) const override {
    return stream(device, 1);
  }
  c10::Stream exchangeStream(c10::Stream wanted) const override {
    const c10::Stream before = getStream(wanted.device());
    current(wanted.device()) = wanted.id();
    return before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return n_device; }
  void synchronizeStream(const c10::Stream& /*stream*/) const override { ++counts().waits; }
  bool queryStream(const c10::Stream& /*stream*/) const override { return true; }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

// Graphs -------------------------------------------------------------------------------------

struct Graph;
thread_local Graph* recording = nullptr;

// What ran while it recorded; a replay runs it again on the same memory.
struct Graph final : at::GraphImplInterface {
  explicit Graph(const at::GraphImplArgs& /*arguments*/) {}
  void capture_begin(c10::MempoolId_t /*pool*/, at::GraphCaptureMode /*mode*/) override {
    TORCH_CHECK(current_stream.at(static_cast<std::size_t>(current_device)) != 0,
                "stand-in: nothing is recorded on the default stream");
    recording = this;
  }
  void capture_end() override { recording = nullptr; }
  void instantiate() override {}
  void replay() override {
    ++counts().replays;
    for (const auto& step : steps) step();
  }
  void reset() override { steps.clear(); }
  c10::MempoolId_t pool() const override { return {0, 0}; }
  void enable_debug_mode() override {}
  void debug_dump(const std::string& /*path*/) override {}

  std::vector<std::function<void()>> steps;
};

// Operators ----------------------------------------------------------------------------------

// The same memory as a tensor of the CPU.
at::Tensor in_host_memory(const at::Tensor& t) {
  return at::from_blob(t.mutable_data_ptr(), t.sizes(), t.strides(),
                       t.options().device(at::kCPU).pinned_memory(false));
}

void copy_values(const at::Tensor& target, const at::Tensor& source) {
  in_host_memory(target).copy_(in_host_memory(source));
}

at::Tensor& copy_(at::Tensor& target, const at::Tensor& source, bool /*non_blocking*/) {
  auto& counted = counts();
  if (target.is_cuda() != source.is_cuda()) {
    ++(target.is_cuda() ? counted.to_device : counted.from_device);
    const at::Tensor& on_host = target.is_cuda() ? source : target;
    const at::Tensor& on_device = target.is_cuda() ? target : source;
    if (!is_pinned(on_host)) ++counted.from_pageable;
    if (current_stream.at(static_cast<std::size_t>(on_device.device().index())) == 0)
      ++counted.on_default_stream;
    TORCH_CHECK(recording == nullptr || is_pinned(on_host),
                "stand-in: operation not permitted when stream is capturing");
  }
  at::Tensor expanded = source.expand_as(target);
  copy_values(target, expanded);
  if (recording != nullptr)
    recording->steps.emplace_back([target, expanded] { copy_values(target, expanded); });
  return target;
}

at::Tensor copy_from_and_resize(const at::Tensor& source, const at::Tensor& target) {
  at::Tensor place = target;
  if (place.sizes() != source.sizes()) {
    const at::Tensor larger = at::empty(source.sizes(), target.options());
    place.unsafeGetTensorImpl()->set_storage_keep_dtype(larger.storage());
    place.unsafeGetTensorImpl()->set_sizes_contiguous(source.sizes());
  }
  return copy_(place, source, false);
}

at::Scalar local_scalar(const at::Tensor& t) {
  TORCH_CHECK(recording == nullptr, "stand-in: operation not permitted when stream is capturing");
  return in_host_memory(t).item();
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride,
                         std::optional<at::ScalarType> type, std::optional<at::Layout> /*layout*/,
                         std::optional<at::Device> device, std::optional<bool> /*pinned*/) {
  const c10::DeviceGuard guard(device.value_or(c10::Device(c10::kCUDA, current_device)));
  return at::detail::empty_strided_generic(size, stride, &memory,
                                           c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           type.value_or(at::kFloat));
}

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> type,
                 std::optional<at::Layout> /*layout*/, std::optional<at::Device> device,
                 std::optional<bool> /*pinned*/, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(c10::Device(c10::kCUDA, current_device)));
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   type.value_or(at::kFloat), format);
}

// Any other operator: on the CPU, where its results are those of the CPU.
void on_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  at::native::cpu_fallback(operation, stack, /*error_on_views=*/false);
}

// The copies that cpu_fallback makes are no copies of the program's.
void fallback(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const Counts before = counts();
  Graph* const graph = std::exchange(recording, nullptr);
  const std::size_t n = operation.schema().arguments().size();
  const torch::jit::Stack arguments(stack->end() - static_cast<std::ptrdiff_t>(n), stack->end());
  on_cpu(operation, stack);
  recording = graph;
  counts() = before;
  ++counts().operations;
  for (const auto kind : {at::Float32Op::MATMUL, at::Float32Op::CONV, at::Float32Op::RNN}) {
    const auto precision = at::globalContext().float32Precision(at::Float32Backend::CUDA, kind);
    if (precision != at::Float32Precision::IEEE) ++counts().reduced;
  }
  if (graph == nullptr) return;
  const std::size_t n_result = operation.schema().returns().size();
  const torch::jit::Stack results(stack->end() - static_cast<std::ptrdiff_t>(n_result),
                                  stack->end());
  graph->steps.emplace_back([operation, arguments, results] {
    const Counts counted = counts();
    torch::jit::Stack again = arguments;
    on_cpu(operation, &again);
    for (std::size_t i = 0; i < results.size(); ++i)
      if (results[i].isTensor()) copy_values(results[i].toTensor(), again[i].toTensor());
    counts() = counted;
  });
}

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("copy_", TORCH_FN(copy_));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar));
}

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs /*arguments*/) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex /*index*/) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return n_device; }
  int getNumGPUs() const override { return n_device; }
  c10::DeviceIndex current_device() const override { return stand_in::current_device; }
  c10::DeviceIndex getCurrentDevice() const override { return stand_in::current_device; }
  void setCurrentDevice(c10::DeviceIndex index) const override { stand_in::current_device = index; }
  bool isPinnedPtr(const void* data) const override { return pinned_blocks().count(data) != 0; }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned; }
  c10::Device getDeviceFromPtr(void* /*data*/) const override {
    return {c10::kCUDA, stand_in::current_device};
  }
};

const bool has_allocators = [] {
  c10::SetAllocator(c10::kCUDA, &memory);
  at::setHostAllocator(c10::kCUDA, &pinned);
  return true;
}();

}  // namespace

void limit_memory(std::int64_t bytes) { memory_limit = bytes; }

}  // namespace stand_in

namespace at {
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, stand_in::Hooks)
C10_REGISTER_CLASS(GraphImplRegistry, CUDA, stand_in::Graph)
}  // namespace at
