// Arithmetic on tensors in the C interface to TorchScript files (torchscript.h).
#include <ATen/ScalarOps.h>
#include <ATen/ops/add.h>
#include <ATen/ops/div.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>

#include <limits>

#include "c_guard.hpp"
#include "torchscript_support.hpp"

namespace climlink {
namespace {

// A number has no rank and does not change the kind of its tensor, but for a real beside integers,
// which gives float32.
at::Tensor operand(const climlink_value* value, const char* name) {
  need(value, name);
  switch (value->kind) {
    case CLIMLINK_VALUE_TENSOR:
      return *tensors().at(value->tensor);
    case CLIMLINK_VALUE_REAL:
      return at::native::wrapped_scalar_tensor(value->real);
    case CLIMLINK_VALUE_INTEGER:
      return at::native::wrapped_scalar_tensor(value->integer);
  }
  fail(CLIMLINK_ERROR_ARGUMENT, name, " has the value kind ", static_cast<int>(value->kind),
       "; expected 0 to 2");
}

bool stands_for_all(const at::Tensor& one, const at::Tensor& other) {
  return one.numel() == 1 && one.dim() <= other.dim();
}

void check_operands(const at::Tensor& left, const at::Tensor& right) {
  if (left.dim() > 0 && right.dim() > 0 && left.device() != right.device()) {
    fail(CLIMLINK_ERROR_DEVICE, "the left tensor is on ", left.device().str(),
         " and the right one on ", right.device().str(), "; copy one of them first");
  }
  if (left.sizes() == right.sizes() || stands_for_all(left, right) || stands_for_all(right, left))
    return;
  fail(CLIMLINK_ERROR_SHAPE, "the left tensor is ", shape_of(left), " and the right one ",
       shape_of(right),
       "; expected equal shapes, or one element on one side, because nothing else is broadcast");
}

at::Tensor combined(climlink_operation operation, const at::Tensor& left, const at::Tensor& right) {
  switch (operation) {
    case CLIMLINK_ADD:
      return at::add(left, right);
    case CLIMLINK_SUBTRACT:
      return at::sub(left, right);
    case CLIMLINK_MULTIPLY:
      return at::mul(left, right);
    case CLIMLINK_DIVIDE:
      return at::div(left, right);
    case CLIMLINK_POWER:
      return at::pow(
          left,
          right.item());  // unlike a tensor's, a number's negative power of integers is refused
  }
  fail(CLIMLINK_ERROR_ARGUMENT, "operation is ", static_cast<int>(operation), "; expected 0 to 4");
}

at::Tensor reduced(climlink_reduction reduction, const at::Tensor& source) {
  switch (reduction) {
    case CLIMLINK_SUM:
      return at::sum(source);  // int64 of integers
    case CLIMLINK_MEAN:
      return at::mean(source);
  }
  fail(CLIMLINK_ERROR_ARGUMENT, "reduction is ", static_cast<int>(reduction),
       "; expected 0 (sum) or 1 (mean)");
}

bool holds(at::ScalarType type, std::int64_t number) {
  const int bits = static_cast<int>(8 * c10::elementSize(type)) - 1;
  return bits == 63 || (number < (std::int64_t{1} << bits) && number >= -(std::int64_t{1} << bits));
}

void reduce(climlink_reduction reduction, const at::Tensor& source, const at::Tensor& target) {
  if (target.dim() != 1 || target.numel() != 1 || target.scalar_type() != source.scalar_type()) {
    fail(CLIMLINK_ERROR_SHAPE, "the target is ", shape_of(target), " for the source ",
         shape_of(source), "; expected a tensor of the source's kind with the shape [1]");
  }
  const at::Tensor result =
      with_torch("to reduce a tensor", [&] { return reduced(reduction, source).reshape({1}); });
  if (!at::isFloatingType(source.scalar_type())) {
    const auto number = with_torch("to read a sum", [&] { return result.item<std::int64_t>(); });
    if (!holds(target.scalar_type(), number)) {
      fail(CLIMLINK_ERROR_SHAPE, "the sum ", number, " does not fit into the target, which is ",
           shape_of(target));
    }
  }
  copy_values(result, target, /*convert=*/true, /*non_blocking=*/false);
}

}  // namespace
}  // namespace climlink

using climlink::guarded;
using climlink::need;
using climlink::tensors;

climlink_status climlink_tensor_combine(climlink_operation operation, const climlink_value* left,
                                        const climlink_value* right, climlink_tensor** result) {
  return guarded([&] {
    need(result, "result");
    *result = nullptr;
    const auto a = climlink::operand(left, "left"), b = climlink::operand(right, "right");
    if (left->kind != CLIMLINK_VALUE_TENSOR && right->kind != CLIMLINK_VALUE_TENSOR) {
      climlink::fail(CLIMLINK_ERROR_ARGUMENT,
                     "left and right are numbers; expected a tensor on one side at least");
    }
    if (operation == CLIMLINK_POWER && right->kind == CLIMLINK_VALUE_TENSOR) {
      climlink::fail(CLIMLINK_ERROR_ARGUMENT, "right is a tensor; expected a number as exponent");
    }
    climlink::check_operands(a, b);
    const auto c =
        climlink::with_torch("in arithmetic", [&] { return climlink::combined(operation, a, b); });
    climlink::kind_of(c);
    if (at::isFloatingType(c.scalar_type()))
      climlink::require_gradient(c, a.requires_grad() || b.requires_grad());
    *result = tensors().add(c);
  });
}

climlink_status climlink_tensor_reduce(climlink_reduction reduction, const climlink_tensor* source,
                                       const climlink_tensor* target) {
  return guarded(
      [&] { climlink::reduce(reduction, *tensors().at(source), *tensors().at(target)); });
}
