#include "staging.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <type_traits>

namespace climlink {
namespace {

std::optional<c10::Stream> own_stream(c10::Device device) {
  if (device.is_cpu()) return {};
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

}  // namespace

Staging::Staging(c10::Device device) : device_(device), stream_(own_stream(device)) {}

at::Tensor Staging::room(at::Tensor& kept, std::int64_t n_row, std::int64_t width,
                         at::ScalarType type) {
  const std::int64_t needed = n_row * width;
  if (!kept.defined() || kept.numel() < needed)
    kept = at::empty({needed}, at::TensorOptions(type).pinned_memory(!device_.is_cpu()));
  return kept.narrow(0, 0, needed).view({n_row, width});
}

at::Tensor Staging::host_rows(const Rows& rows) {
  const std::int64_t width = rows.n_input;
  // from_blob takes void*, but the wrapped graph never writes its input; a graph that did would be
  // caught by the golden replay.
  if (device_.is_cpu() && rows.n_row == rows.n_column)
    return at::from_blob(const_cast<float*>(rows.x), {rows.n_row, width}, at::kFloat);
  at::Tensor staged = room(inputs_, rows.n_row, width, at::kFloat);
  float* target = staged.mutable_data_ptr<float>();
  std::copy_n(rows.x, rows.n_column * width, target);
  const float* last = rows.x + (rows.n_column - 1) * width;
  for (std::int64_t row = rows.n_column; row < rows.n_row; ++row)
    std::copy_n(last, width, target + row * width);
  return staged;
}

at::Tensor Staging::bring(const Rows& rows) {
  at::Tensor staged = host_rows(rows);
  return device_.is_cpu() ? staged : staged.to(device_, /*non_blocking=*/true);
}

void Staging::bring_into(const Rows& rows, at::Tensor& target) {
  target.copy_(host_rows(rows), /*non_blocking=*/true);
}

template <class Value>
void Staging::fetch(const at::Tensor& result, std::int64_t n_column, Value* target) {
  constexpr at::ScalarType type = c10::CppTypeToScalarType<Value>::value;
  const at::Tensor wanted = result.narrow(0, 0, n_column);
  const at::IntArrayRef shape = wanted.sizes();
  if (device_.is_cpu()) {
    at::from_blob(target, shape, type).copy_(wanted);
    return;
  }
  at::Tensor& kept = std::is_same_v<Value, float> ? outputs_ : use_;
  at::Tensor staged = room(kept, n_column, shape[1], type);
  staged.copy_(wanted, /*non_blocking=*/true);
  stream_->synchronize();
  std::copy_n(staged.const_data_ptr<Value>(), staged.numel(), target);
}

template void Staging::fetch(const at::Tensor&, std::int64_t, float*);
template void Staging::fetch(const at::Tensor&, std::int64_t, double*);

}  // namespace climlink
