/* Fortran arrays as tensors: a Fortran 2018 descriptor of any kind, rank and stride becomes a
 * tensor over the same memory. */
#include <ISO_Fortran_binding.h>
#include <climlink/torchscript.h>
#include <stdio.h>

enum { largest_rank = 15 };

/* Called from climlink_compat.F90 only.
 * layout: NULL, or the order of indices from fastest to slowest in memory (FTorch's layout; the
 * array must be contiguous). axes: NULL, or for every axis of the tensor the index of the array
 * that it is. Both count from 1 and have n_order members. message receives the text of a failure.
 */
climlink_status climlink_compat_wrap(const CFI_cdesc_t* values, const int32_t* layout,
                                     const int32_t* axes, int32_t n_order, const char* device,
                                     climlink_tensor** tensor, char* message, size_t capacity);

static climlink_kind kind_of(const CFI_cdesc_t* values) {
  switch (values->type) {
    case CFI_type_int8_t:
      return CLIMLINK_KIND_INT8;
    case CFI_type_int16_t:
      return CLIMLINK_KIND_INT16;
    case CFI_type_int32_t:
      return CLIMLINK_KIND_INT32;
    case CFI_type_int64_t:
      return CLIMLINK_KIND_INT64;
    case CFI_type_float:
      return CLIMLINK_KIND_FLOAT32;
    case CFI_type_double:
      return CLIMLINK_KIND_FLOAT64;
    default:
      return (climlink_kind)0;
  }
}

/* 0 unless order[0..rank-1] holds every number from 1 to rank. */
static int is_permutation(const int32_t* order, int rank) {
  unsigned seen = 0;
  for (int i = 0; i < rank; ++i) {
    if (order[i] < 1 || order[i] > rank) return 0;
    seen |= 1u << order[i];
  }
  return seen == (1u << (rank + 1)) - 2u;
}

static climlink_status refuse(char* message, size_t capacity, const char* text, long long number) {
  snprintf(message, capacity, text, number);
  return CLIMLINK_ERROR_SHAPE;
}

/* Extents and strides (in elements) of the array; refuses what a tensor cannot be. */
static climlink_status extents_of(const CFI_cdesc_t* values, int64_t* shape, int64_t* stride,
                                  char* message, size_t capacity) {
  for (int i = 0; i < values->rank; ++i) {
    shape[i] = values->dim[i].extent;
    if (shape[i] < 0) {
      return refuse(
          message, capacity,
          "extent %lld of the array is not known (assumed size); pass a section with its bounds",
          i + 1);
    }
    if (values->dim[i].sm % (ptrdiff_t)values->elem_len != 0) {
      return refuse(
          message, capacity,
          "the values along index %lld are components of a larger type; pass a copy of them",
          i + 1);
    }
    stride[i] = values->dim[i].sm / (ptrdiff_t)values->elem_len;
    if (shape[i] > 1 && stride[i] < 0) {
      return refuse(message, capacity,
                    "index %lld of the array section runs backwards; pass it forwards", i + 1);
    }
    /* Descriptors leave strides of empty and single extents open. */
    if (shape[i] <= 1 && stride[i] <= 0) stride[i] = 1;
  }
  return CLIMLINK_OK;
}

static void lay_out(const int32_t* layout, int rank, const int64_t* shape, int64_t* stride) {
  int64_t elements = 1;
  for (int i = 0; i < rank; ++i) {
    stride[layout[i] - 1] = elements;
    elements *= shape[layout[i] - 1];
  }
}

static void permute(const int32_t* axes, int rank, int64_t* numbers) {
  int64_t before[largest_rank];
  for (int i = 0; i < rank; ++i) before[i] = numbers[i];
  for (int i = 0; i < rank; ++i) numbers[i] = before[axes[i] - 1];
}

climlink_status climlink_compat_wrap(const CFI_cdesc_t* values, const int32_t* layout,
                                     const int32_t* axes, int32_t n_order, const char* device,
                                     climlink_tensor** tensor, char* message, size_t capacity) {
  int64_t shape[largest_rank];
  int64_t stride[largest_rank];
  const int rank = values->rank;
  const int32_t* order = layout != NULL ? layout : axes;
  *tensor = NULL;
  if (kind_of(values) == 0) {
    return refuse(message, capacity,
                  "the array has elements of %lld bytes of a type that no tensor has; expected "
                  "real32, real64 or an integer kind",
                  (long long)values->elem_len);
  }
  if (order != NULL && (n_order != rank || !is_permutation(order, rank))) {
    return refuse(
        message, capacity,
        "the order of indices is no permutation; expected each number from 1 to %lld once", rank);
  }
  climlink_status status = extents_of(values, shape, stride, message, capacity);
  if (status != CLIMLINK_OK) return status;
  if (layout != NULL) lay_out(layout, rank, shape, stride);
  if (axes != NULL) {
    permute(axes, rank, shape);
    permute(axes, rank, stride);
  }
  for (int i = 0; i < rank; ++i) {
    if (stride[i] < 1) stride[i] = 1; /* of an array without elements */
  }
  status =
      climlink_tensor_wrap(values->base_addr, kind_of(values), rank, shape, stride, device, tensor);
  if (status != CLIMLINK_OK) snprintf(message, capacity, "%s", climlink_last_message());
  return status;
}
