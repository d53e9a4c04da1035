/* climlink: any TorchScript file on strided tensors, below the drop-in modules `ftorch` and
 * `torch_ftn` (docs/drop-ins.md).
 *
 * Hosts that run a wrap_model.pt use climlink.h, which checks variables, units and golden columns;
 * nothing here does. Statuses and messages are those of climlink.h. Handles are numbers, not
 * addresses, and no number is used twice: a handle that was deleted, or belongs to something else,
 * is refused with CLIMLINK_ERROR_STATE. All functions may be called from several threads. Nothing
 * is cast, broadcast or reshaped unless the caller asks for it by name.
 */
#ifndef CLIMLINK_TORCHSCRIPT_H
#define CLIMLINK_TORCHSCRIPT_H

#include <climlink/climlink.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct climlink_tensor climlink_tensor;
typedef struct climlink_module climlink_module;

/* Kinds of elements; the numbers are libtorch's. */
typedef CLIMLINK_ENUM(climlink_kind){
    CLIMLINK_KIND_INT8 = 1,  CLIMLINK_KIND_INT16 = 2,   CLIMLINK_KIND_INT32 = 3,
    CLIMLINK_KIND_INT64 = 4, CLIMLINK_KIND_FLOAT32 = 6, CLIMLINK_KIND_FLOAT64 = 7} climlink_kind;
typedef CLIMLINK_ENUM(climlink_fill){CLIMLINK_FILL_NONE = 0, CLIMLINK_FILL_ZEROS = 1,
                                     CLIMLINK_FILL_ONES = 2} climlink_fill;
typedef CLIMLINK_ENUM(climlink_value_kind){CLIMLINK_VALUE_TENSOR = 0, CLIMLINK_VALUE_REAL = 1,
                                           CLIMLINK_VALUE_INTEGER = 2} climlink_value_kind;

typedef CLIMLINK_ENUM(climlink_operation){CLIMLINK_ADD = 0, CLIMLINK_SUBTRACT = 1,
                                          CLIMLINK_MULTIPLY = 2, CLIMLINK_DIVIDE = 3,
                                          CLIMLINK_POWER = 4} climlink_operation;
typedef CLIMLINK_ENUM(climlink_reduction){CLIMLINK_SUM = 0, CLIMLINK_MEAN = 1} climlink_reduction;

/* One argument of a module's forward: a tensor, or a number for an argument that TorchScript
 * declares as float or int. In arithmetic: one side. */
typedef struct climlink_value {
  climlink_value_kind kind;
  const climlink_tensor* tensor;
  double real;
  int64_t integer;
} climlink_value;

/* What a tensor is. The pointers are valid until the tensor is deleted. */
typedef struct climlink_tensor_info {
  climlink_kind kind;
  int32_t rank;              /* 0 to 8 */
  const int64_t* shape;      /* [rank] */
  const int64_t* stride;     /* [rank], in elements */
  int32_t cuda;              /* 1 on a CUDA (or ROCm) device, 0 in host memory */
  int32_t device_index;      /* CUDA device, or -1 in host memory */
  void* data;                /* first element in host memory; NULL on a device */
  int32_t contiguous;        /* 1 if the last index is fastest and nothing lies between elements */
  int32_t requires_gradient; /* 1 if the tensor was marked so, or is a parameter; there are no
                                graphs and no gradients here */
} climlink_tensor_info;

/* Makes a tensor of caller memory, `stride` in elements. On "cpu" the memory is used where it lies
 * and must outlive the tensor; on "cuda" or "cuda:N" (device 0, device N) its values are copied
 * there now. A stride of 0 is refused where an extent is above 1. Errors: ARGUMENT (null pointer,
 * unknown kind), SHAPE (rank, extent, stride), DEVICE. On failure *tensor is NULL, here and below.
 */
CLIMLINK_API climlink_status climlink_tensor_wrap(void* data, climlink_kind kind, int32_t rank,
                                                  const int64_t* shape, const int64_t* stride,
                                                  const char* device, climlink_tensor** tensor);
/* Makes a tensor with memory of its own, last index fastest. */
CLIMLINK_API climlink_status climlink_tensor_create(climlink_kind kind, int32_t rank,
                                                    const int64_t* shape, climlink_fill fill,
                                                    const char* device, climlink_tensor** tensor);
/* Makes a contiguous copy on a device. */
CLIMLINK_API climlink_status climlink_tensor_copy_of(const climlink_tensor* source,
                                                     const char* device, climlink_tensor** tensor);
/* Makes a second handle of the same memory; each is deleted by itself. */
CLIMLINK_API climlink_status climlink_tensor_share(const climlink_tensor* source,
                                                   climlink_tensor** tensor);
/* Copies values into an existing tensor of the same shape, on any device. Another kind of element
 * is refused unless `convert` is 1. With `non_blocking` 1 a copy between host and device may still
 * run on return. */
CLIMLINK_API climlink_status climlink_tensor_copy(const climlink_tensor* source,
                                                  const climlink_tensor* target, int32_t convert,
                                                  int32_t non_blocking);
/* Sets all elements to 0. */
CLIMLINK_API climlink_status climlink_tensor_zero(const climlink_tensor* tensor);
/* Marks a tensor as one whose gradient is wanted, or takes the mark off; results of arithmetic
 * inherit it. Nothing else follows from it. Errors: SHAPE (integers). */
CLIMLINK_API climlink_status climlink_tensor_require_gradient(const climlink_tensor* tensor,
                                                              int32_t required);
/* left operation right, element by element, in a new tensor. Shapes are equal, or one side is a
 * number or has one element; an exponent is a number. Kinds are promoted as torch does: float32
 * with float64 gives float64, integers divided give float32, a number leaves the kind of its
 * tensor, but a real beside integers gives float32. Errors: ARGUMENT (two numbers, exponent),
 * SHAPE, DEVICE, BACKEND (negative power of integers). */
CLIMLINK_API climlink_status climlink_tensor_combine(climlink_operation operation,
                                                     const climlink_value* left,
                                                     const climlink_value* right,
                                                     climlink_tensor** result);
/* Sum or mean of all elements into a target of the source's kind and shape [1].
 * Errors: SHAPE (target; a sum of integers that does not fit), BACKEND (mean of integers). */
CLIMLINK_API climlink_status climlink_tensor_reduce(climlink_reduction reduction,
                                                    const climlink_tensor* source,
                                                    const climlink_tensor* target);
CLIMLINK_API climlink_status climlink_tensor_describe(const climlink_tensor* tensor,
                                                      climlink_tensor_info* info);
/* The values as torch prints them; free the text with climlink_free. */
CLIMLINK_API climlink_status climlink_tensor_text(const climlink_tensor* tensor, char** text);
/* Deletes the handle and sets *tensor to NULL; NULL is allowed, a handle that was deleted before is
 * not. */
CLIMLINK_API climlink_status climlink_tensor_delete(climlink_tensor** tensor);

/* Loads a TorchScript file on "cpu", "cuda" (device 0), "cuda:N" or "auto", in evaluation mode.
 * The file is code: its CRCs are checked, what it does is not (climlink_check_code does that).
 * Errors: FILE, PACKAGE (not TorchScript), DEVICE, BACKEND. */
CLIMLINK_API climlink_status climlink_module_load(const char* path, const char* device,
                                                  climlink_module** module);
/* Device of the module, "cpu" or such as "cuda:1". Valid until the module is deleted. */
CLIMLINK_API climlink_status climlink_module_device(const climlink_module* module,
                                                    const char** device);
/* Parameters, in the module's order. The tensor is the parameter itself, so that writing to it
 * changes the module; the name is valid until the module is deleted. Errors: ARGUMENT (index),
 * STATE. */
CLIMLINK_API climlink_status climlink_module_parameter_count(const climlink_module* module,
                                                             int32_t* count);
CLIMLINK_API climlink_status climlink_module_parameter(const climlink_module* module, int32_t index,
                                                       const char** name, climlink_tensor** tensor);
/* Runs the module and copies its results into the given tensors, which must be as many as it
 * returns (a tuple or list counts its members) and have their shapes and kinds; they may be strided
 * and on another device. Nothing is written unless everything fits. libtorch uses as many threads
 * as its OpenMP runtime gives the caller (omp_get_max_threads). Errors: STATE, SHAPE, DEVICE, GRAPH
 * (results that are no tensors), BACKEND. */
CLIMLINK_API climlink_status climlink_module_forward(const climlink_module* module,
                                                     const climlink_value* inputs, int32_t n_input,
                                                     const climlink_tensor* const* outputs,
                                                     int32_t n_output);
/* The same with results in new contiguous tensors on the module's device, n_output of them. */
CLIMLINK_API climlink_status climlink_module_call(const climlink_module* module,
                                                  const climlink_value* inputs, int32_t n_input,
                                                  climlink_tensor** outputs, int32_t n_output);
CLIMLINK_API climlink_status climlink_module_delete(climlink_module** module);

#ifdef __cplusplus
}
#endif

#endif /* CLIMLINK_TORCHSCRIPT_H */
