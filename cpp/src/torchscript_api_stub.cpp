// The C interface to TorchScript files in a build without libtorch: every call says so.
#include "c_guard.hpp"
#include "climlink/torchscript.h"

namespace {

climlink_status refused() {
  return climlink::guarded([] {
    climlink::fail(CLIMLINK_ERROR_BACKEND,
                   "this climlink was built without libtorch (backend \"stub\") and has no tensors "
                   "or modules. ",
                   "Build climlink with -DCLIMLINK_TORCH=ON");
  });
}

// A result of a failed call is NULL.
template <class Result>
climlink_status refused(Result** result) {
  if (result != nullptr) *result = nullptr;
  return refused();
}

}  // namespace

climlink_status climlink_tensor_wrap(void*, climlink_kind, int32_t, const int64_t*, const int64_t*,
                                     const char*, climlink_tensor** tensor) {
  return refused(tensor);
}

climlink_status climlink_tensor_create(climlink_kind, int32_t, const int64_t*, climlink_fill,
                                       const char*, climlink_tensor** tensor) {
  return refused(tensor);
}

climlink_status climlink_tensor_copy_of(const climlink_tensor*, const char*,
                                        climlink_tensor** tensor) {
  return refused(tensor);
}

climlink_status climlink_tensor_share(const climlink_tensor*, climlink_tensor** tensor) {
  return refused(tensor);
}

climlink_status climlink_tensor_copy(const climlink_tensor*, const climlink_tensor*, int32_t,
                                     int32_t) {
  return refused();
}

climlink_status climlink_tensor_zero(const climlink_tensor*) { return refused(); }

climlink_status climlink_tensor_require_gradient(const climlink_tensor*, int32_t) {
  return refused();
}

climlink_status climlink_tensor_combine(climlink_operation, const climlink_value*,
                                        const climlink_value*, climlink_tensor** result) {
  return refused(result);
}

climlink_status climlink_tensor_reduce(climlink_reduction, const climlink_tensor*,
                                       const climlink_tensor*) {
  return refused();
}

climlink_status climlink_tensor_describe(const climlink_tensor*, climlink_tensor_info*) {
  return refused();
}

climlink_status climlink_tensor_text(const climlink_tensor*, char** text) { return refused(text); }

// There is no tensor and no module to delete, but NULL may be deleted here as well.
climlink_status climlink_tensor_delete(climlink_tensor** tensor) {
  return tensor != nullptr && *tensor == nullptr ? CLIMLINK_OK : refused(tensor);
}

climlink_status climlink_module_load(const char*, const char*, climlink_module** module) {
  return refused(module);
}

climlink_status climlink_module_device(const climlink_module*, const char** device) {
  return refused(device);
}

climlink_status climlink_module_parameter_count(const climlink_module*, int32_t*) {
  return refused();
}

climlink_status climlink_module_parameter(const climlink_module*, int32_t, const char**,
                                          climlink_tensor** tensor) {
  return refused(tensor);
}

climlink_status climlink_module_forward(const climlink_module*, const climlink_value*, int32_t,
                                        const climlink_tensor* const*, int32_t) {
  return refused();
}

climlink_status climlink_module_call(const climlink_module*, const climlink_value*, int32_t,
                                     climlink_tensor** outputs, int32_t n_output) {
  for (int32_t i = 0; outputs != nullptr && i < n_output; ++i) outputs[i] = nullptr;
  return refused();
}

climlink_status climlink_module_delete(climlink_module** module) {
  return module != nullptr && *module == nullptr ? CLIMLINK_OK : refused(module);
}
