#include "torchscript_support.hpp"

#include <ATen/Parallel.h>

#include "host_state.hpp"

namespace climlink {

// Never destroyed: finalizers of a host may still run when static objects go.
TensorTable& tensors() {
  static auto* table = new TensorTable("tensor");
  return *table;
}

ModuleTable& modules() {
  static auto* table = new ModuleTable("module");
  return *table;
}

at::ScalarType scalar_type(climlink_kind kind) {
  switch (kind) {
    case CLIMLINK_KIND_INT8:
      return at::kChar;
    case CLIMLINK_KIND_INT16:
      return at::kShort;
    case CLIMLINK_KIND_INT32:
      return at::kInt;
    case CLIMLINK_KIND_INT64:
      return at::kLong;
    case CLIMLINK_KIND_FLOAT32:
      return at::kFloat;
    case CLIMLINK_KIND_FLOAT64:
      return at::kDouble;
  }
  fail(CLIMLINK_ERROR_ARGUMENT, "kind is ", static_cast<int>(kind),
       "; expected 1 to 4 (int8, int16, int32, int64), 6 (float32) or 7 (float64)");
}

climlink_kind kind_of(const at::Tensor& t) {
  for (const climlink_kind kind :
       {CLIMLINK_KIND_INT8, CLIMLINK_KIND_INT16, CLIMLINK_KIND_INT32, CLIMLINK_KIND_INT64,
        CLIMLINK_KIND_FLOAT32, CLIMLINK_KIND_FLOAT64}) {
    if (t.scalar_type() == scalar_type(kind)) return kind;
  }
  fail(CLIMLINK_ERROR_SHAPE, "the tensor is ", shape_of(t),
       "; a host takes int8, int16, int32, int64, float32 and float64 only");
}

void keep_host_threads() noexcept {
  const HostThreads host;
  at::get_num_threads();
}

void copy_values(const at::Tensor& source, const at::Tensor& target, bool convert,
                 bool non_blocking) {
  if (source.sizes() != target.sizes()) {
    fail(CLIMLINK_ERROR_SHAPE, "the source is ", shape_of(source), " and the target ",
         shape_of(target), "; expected equal shapes, because nothing is broadcast");
  }
  if (!convert && source.scalar_type() != target.scalar_type()) {
    fail(CLIMLINK_ERROR_SHAPE, "the source is ", shape_of(source), " and the target ",
         shape_of(target), "; expected equal kinds, because nothing is cast");
  }
  with_torch("to copy values", [&] { target.copy_(source, non_blocking); });
}

void require_gradient(const at::Tensor& t, bool required) {
  if (required && !at::isFloatingType(t.scalar_type())) {
    fail(CLIMLINK_ERROR_SHAPE, "the tensor is ", shape_of(t),
         "; a gradient is defined for float32 and float64 only");
  }
  with_torch("to mark a tensor", [&] { t.requires_grad_(required); });
}

}  // namespace climlink
