// The C interface to any TorchScript file (torchscript.h), on libtorch.
#include <ATen/core/Formatting.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <vector>

#include "backend.hpp"
#include "c_guard.hpp"
#include "package.hpp"
#include "torchscript_support.hpp"

namespace climlink {
namespace {

constexpr std::int32_t largest_rank = 8;

c10::Device chosen_device(const char* device) {
  need(device, "device");
  return torch_device(choose_device(device, /*local_rank=*/0, backend_device_count));
}

at::IntArrayRef checked_shape(std::int32_t rank, const std::int64_t* shape) {
  if (rank < 0 || rank > largest_rank)
    fail(CLIMLINK_ERROR_SHAPE, "the rank is ", rank, "; expected 0 to ", largest_rank);
  if (rank > 0) need(shape, "shape");
  const at::IntArrayRef extents(shape, static_cast<std::size_t>(rank));
  for (const std::int64_t extent : extents) {
    if (extent < 0)
      fail(CLIMLINK_ERROR_SHAPE, "the shape is ", extents, "; expected extents of 0 or more");
  }
  return extents;
}

// Stride 0 would read one value as many (a silent broadcast) or write many into one place; libtorch
// has no negative strides.
at::IntArrayRef checked_strides(at::IntArrayRef shape, const std::int64_t* stride) {
  if (!shape.empty()) need(stride, "stride");
  const at::IntArrayRef strides(stride, shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (strides[i] < 0 || (strides[i] == 0 && shape[i] > 1)) {
      fail(CLIMLINK_ERROR_SHAPE, "the strides are ", strides, " for the shape ", shape,
           "; expected 1 or more elements between values");
    }
  }
  return strides;
}

torch::jit::IValue argument(const LoadedModule& m, const climlink_value& value, std::int32_t index,
                            std::int32_t count) {
  switch (value.kind) {
    case CLIMLINK_VALUE_REAL:
      return value.real;
    case CLIMLINK_VALUE_INTEGER:
      return value.integer;
    case CLIMLINK_VALUE_TENSOR: {
      const at::Tensor t = *tensors().at(value.tensor);
      if (t.device() == m.device) return t;
      fail(CLIMLINK_ERROR_DEVICE, m.path, ": input ", index + 1, " of ", count, " is on ",
           t.device().str(), ", the module on ", m.device_text,
           "; make the tensor on the module's device, or load the module on the tensor's");
    }
  }
  fail(CLIMLINK_ERROR_ARGUMENT, "input ", index + 1, " of ", count, " has the value kind ",
       static_cast<int>(value.kind), "; expected 0 to 2");
}

// The tensors in what a module returned: one, or those of a tuple or list, in order.
std::vector<at::Tensor> members(const LoadedModule& m, const torch::jit::IValue& result) {
  if (result.isTensor()) return {result.toTensor()};
  if (result.isTensorList()) return result.toTensorVector();
  if (result.isTuple()) {
    std::vector<at::Tensor> all;
    for (const auto& element : result.toTupleRef().elements()) {
      if (!element.isTensor())
        fail(CLIMLINK_ERROR_GRAPH, m.path, ": the module returns a tuple with a ",
             element.tagKind(), "; expected tensors only");
      all.push_back(element.toTensor());
    }
    return all;
  }
  fail(CLIMLINK_ERROR_GRAPH, m.path, ": the module returns a ", result.tagKind(),
       "; expected a tensor, or a tuple or list of tensors");
}

std::vector<at::Tensor> run(const LoadedModule& m, const climlink_value* inputs,
                            std::int32_t n_input, std::int32_t n_output) {
  if (n_input < 0) fail(CLIMLINK_ERROR_ARGUMENT, "n_input is ", n_input, "; expected 0 or more");
  if (n_input > 0) need(inputs, "inputs");
  std::vector<torch::jit::IValue> arguments;
  std::ostringstream given;
  for (std::int32_t i = 0; i < n_input; ++i) {
    arguments.push_back(argument(m, inputs[i], i, n_input));
    given << (i > 0 ? ", " : "")
          << (arguments.back().isTensor() ? shape_of(arguments.back().toTensor())
                                          : arguments.back().tagKind());
  }
  auto results = with_torch(text("in ", m.path, " on (", given.str(), ")"), [&] {
    torch::jit::Module module = m.module;  // shares the parameters; forward is not const
    return members(m, module.forward(std::move(arguments)));
  });
  if (static_cast<std::int64_t>(results.size()) != n_output) {
    fail(CLIMLINK_ERROR_SHAPE, m.path, ": the module returns ", results.size(), " tensor(s), ",
         n_output, " output tensor(s) were given; give one for each");
  }
  return results;
}

void check_output(const LoadedModule& m, const at::Tensor& result, const at::Tensor& output,
                  std::size_t index, std::size_t count) {
  if (result.sizes() == output.sizes() && result.scalar_type() == output.scalar_type()) return;
  fail(CLIMLINK_ERROR_SHAPE, m.path, ": output ", index + 1, " of ", count, ": the module returns ",
       shape_of(result), ", the output tensor is ", shape_of(output),
       "; give a tensor of the module's shape and kind, because nothing is broadcast or cast");
}

// The table's copy of a text or tensor lives as long as its handle, so pointers into it do too.
climlink_tensor_info description(const at::Tensor& t) {
  climlink_tensor_info info{};
  info.kind = kind_of(t);
  info.rank = static_cast<std::int32_t>(t.dim());
  info.shape = t.sizes().data();
  info.stride = t.strides().data();
  info.cuda = t.is_cuda() ? 1 : 0;
  info.device_index = t.is_cuda() ? static_cast<std::int32_t>(t.device().index()) : -1;
  info.data = t.is_cuda() ? nullptr : t.data_ptr();
  info.contiguous = t.is_contiguous() ? 1 : 0;
  info.requires_gradient = t.requires_grad() ? 1 : 0;
  return info;
}

at::Tensor wrapped(void* data, at::ScalarType type, at::IntArrayRef shape, at::IntArrayRef strides,
                   c10::Device device) {
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  if (empty) return at::empty(shape, at::TensorOptions(type).device(device));
  need(data, "data");
  const at::Tensor host = at::from_blob(data, shape, strides, at::TensorOptions(type));
  return device.is_cpu() ? host : host.to(device, /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor created(at::IntArrayRef shape, climlink_fill fill, const at::TensorOptions& options) {
  switch (fill) {
    case CLIMLINK_FILL_NONE:
      return at::empty(shape, options);
    case CLIMLINK_FILL_ZEROS:
      return at::zeros(shape, options);
    case CLIMLINK_FILL_ONES:
      return at::ones(shape, options);
  }
  fail(CLIMLINK_ERROR_ARGUMENT, "fill is ", static_cast<int>(fill),
       "; expected 0 (none), 1 (zeros) or 2 (ones)");
}

char* allocated_text(const std::string& text) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace
}  // namespace climlink

using climlink::fail;
using climlink::guarded;
using climlink::modules;
using climlink::need;
using climlink::tensors;

climlink_status climlink_tensor_wrap(void* data, climlink_kind kind, int32_t rank,
                                     const int64_t* shape, const int64_t* stride,
                                     const char* device, climlink_tensor** tensor) {
  return guarded([&] {
    need(tensor, "tensor");
    *tensor = nullptr;
    const at::ScalarType type = climlink::scalar_type(kind);
    const at::IntArrayRef extents = climlink::checked_shape(rank, shape);
    const at::IntArrayRef strides = climlink::checked_strides(extents, stride);
    const c10::Device place = climlink::chosen_device(device);
    *tensor = tensors().add(climlink::with_torch("to make a tensor", [&] {
      return climlink::wrapped(data, type, extents, strides, place);
    }));
  });
}

climlink_status climlink_tensor_create(climlink_kind kind, int32_t rank, const int64_t* shape,
                                       climlink_fill fill, const char* device,
                                       climlink_tensor** tensor) {
  return guarded([&] {
    need(tensor, "tensor");
    *tensor = nullptr;
    const at::IntArrayRef extents = climlink::checked_shape(rank, shape);
    const auto options =
        at::TensorOptions(climlink::scalar_type(kind)).device(climlink::chosen_device(device));
    *tensor = tensors().add(climlink::with_torch(
        "to make a tensor", [&] { return climlink::created(extents, fill, options); }));
  });
}

climlink_status climlink_tensor_copy_of(const climlink_tensor* source, const char* device,
                                        climlink_tensor** tensor) {
  return guarded([&] {
    need(tensor, "tensor");
    *tensor = nullptr;
    const at::Tensor from = *tensors().at(source);
    const auto options = from.options().device(climlink::chosen_device(device));
    const at::Tensor copy =
        climlink::with_torch("to make a tensor", [&] { return at::empty(from.sizes(), options); });
    climlink::copy_values(from, copy, /*convert=*/false, /*non_blocking=*/false);
    *tensor = tensors().add(copy);
  });
}

climlink_status climlink_tensor_share(const climlink_tensor* source, climlink_tensor** tensor) {
  return guarded([&] {
    need(tensor, "tensor");
    *tensor = nullptr;
    *tensor = tensors().add(*tensors().at(source));
  });
}

climlink_status climlink_tensor_copy(const climlink_tensor* source, const climlink_tensor* target,
                                     int32_t convert, int32_t non_blocking) {
  return guarded([&] {
    climlink::copy_values(*tensors().at(source), *tensors().at(target), convert != 0,
                          non_blocking != 0);
  });
}

climlink_status climlink_tensor_zero(const climlink_tensor* tensor) {
  return guarded([&] {
    const auto t = tensors().at(tensor);
    climlink::with_torch("to set zeros", [&] { t->zero_(); });
  });
}

climlink_status climlink_tensor_require_gradient(const climlink_tensor* tensor, int32_t required) {
  return guarded([&] { climlink::require_gradient(*tensors().at(tensor), required != 0); });
}

climlink_status climlink_tensor_describe(const climlink_tensor* tensor,
                                         climlink_tensor_info* info) {
  return guarded([&] {
    need(info, "info");
    *info = climlink::description(*tensors().at(tensor));
  });
}

climlink_status climlink_tensor_text(const climlink_tensor* tensor, char** text) {
  return guarded([&] {
    need(text, "text");
    *text = nullptr;
    const auto t = tensors().at(tensor);
    std::ostringstream stream;
    climlink::with_torch("to print a tensor",
                         [&] { at::print(stream, t->cpu(), /*linesize=*/80); });
    *text = climlink::allocated_text(stream.str());
  });
}

climlink_status climlink_tensor_delete(climlink_tensor** tensor) {
  return guarded([&] {
    need(tensor, "tensor");
    if (*tensor != nullptr) tensors().remove(*tensor);
    *tensor = nullptr;
  });
}

climlink_status climlink_module_load(const char* path, const char* device,
                                     climlink_module** module) {
  return guarded([&] {
    need(module, "module");
    *module = nullptr;
    need(path, "path");
    const std::string bytes = climlink::read_file(path);
    climlink::check_archive(bytes, path);
    const c10::Device place = climlink::chosen_device(device);
    *module = modules().add(climlink::with_torch("to load a module", [&] {
      // As with FTorch and pytorch-fortran, who loads a file trusts it.
      climlink::LoadedModule loaded{
          climlink::deserialize(bytes, path, place, climlink::Code::trusted),
          path,
          place,
          place.str(),
          {}};
      loaded.module.eval();
      for (const auto& p : loaded.module.named_parameters())
        loaded.parameters.emplace_back(p.name, p.value);
      return loaded;
    }));
  });
}

climlink_status climlink_module_device(const climlink_module* module, const char** device) {
  return guarded([&] {
    need(device, "device");
    *device = modules().at(module)->device_text.c_str();
  });
}

climlink_status climlink_module_parameter_count(const climlink_module* module, int32_t* count) {
  return guarded([&] {
    need(count, "count");
    *count = static_cast<int32_t>(modules().at(module)->parameters.size());
  });
}

climlink_status climlink_module_parameter(const climlink_module* module, int32_t index,
                                          const char** name, climlink_tensor** tensor) {
  return guarded([&] {
    need(name, "name");
    need(tensor, "tensor");
    *tensor = nullptr;
    const auto m = modules().at(module);
    const auto count = static_cast<int32_t>(m->parameters.size());
    if (index < 0 || index >= count)
      fail(CLIMLINK_ERROR_ARGUMENT, "index is ", index, "; the module has ", count,
           " parameter(s)");
    const auto& parameter = m->parameters[static_cast<std::size_t>(index)];
    *name = parameter.first.c_str();
    *tensor = tensors().add(parameter.second);
  });
}

climlink_status climlink_module_forward(const climlink_module* module, const climlink_value* inputs,
                                        int32_t n_input, const climlink_tensor* const* outputs,
                                        int32_t n_output) {
  return guarded([&] {
    const auto m = modules().at(module);
    if (n_output > 0) need(outputs, "outputs");
    std::vector<at::Tensor> targets;  // before the module runs: a deleted handle costs no forward
    for (int32_t i = 0; i < n_output; ++i) targets.push_back(*tensors().at(outputs[i]));
    const auto results = climlink::run(*m, inputs, n_input, n_output);
    for (std::size_t i = 0; i < results.size(); ++i)
      climlink::check_output(*m, results[i], targets[i], i, results.size());
    for (std::size_t i = 0; i < results.size(); ++i)
      climlink::copy_values(results[i], targets[i], false, false);
  });
}

climlink_status climlink_module_call(const climlink_module* module, const climlink_value* inputs,
                                     int32_t n_input, climlink_tensor** outputs, int32_t n_output) {
  return guarded([&] {
    const auto m = modules().at(module);
    if (n_output > 0) need(outputs, "outputs");
    for (int32_t i = 0; i < n_output; ++i) outputs[i] = nullptr;
    const auto results = climlink::run(*m, inputs, n_input, n_output);
    for (const at::Tensor& result : results) climlink::kind_of(result);
    for (std::size_t i = 0; i < results.size(); ++i) {
      outputs[i] = tensors().add(
          climlink::with_torch("to lay out a result", [&] { return results[i].contiguous(); }));
    }
  });
}

climlink_status climlink_module_delete(climlink_module** module) {
  return guarded([&] {
    need(module, "module");
    if (*module != nullptr) modules().remove(*module);
    *module = nullptr;
  });
}
