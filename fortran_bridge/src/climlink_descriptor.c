/* Fortran arrays of any kind, rank and stride, as they arrive in Fortran 2018 descriptors, become
 * climlink_array views: nothing is copied on the way. What a descriptor can hold and climlink_array
 * cannot is refused here, with a message of its own. */
#include <ISO_Fortran_binding.h>
#include <climlink/climlink.h>
#include <stdarg.h>
#include <stdio.h>

/* Called from climlink_c_api.F90 only; message receives the text of a failure. */
climlink_status climlink_fortran_view(const char* name, const CFI_cdesc_t* values,
                                      climlink_array* view, char* message, size_t capacity);
/* Copies a view [sample, dims...] to values (sample, width), or back; the last of dims is fastest
 * in width. CLIMLINK_ERROR_SHAPE where the numbers of samples or values differ. */
climlink_status climlink_fortran_read(const climlink_array* view, const CFI_cdesc_t* values);
climlink_status climlink_fortran_write(const climlink_array* view, const CFI_cdesc_t* values);

static climlink_status refuse(char* message, size_t capacity, climlink_status status,
                              const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, capacity, format, arguments);
  va_end(arguments);
  return status;
}

/* What Fortran calls a type, for messages; only the names that every Fortran 2018 compiler has. */
static const char* type_name(const CFI_cdesc_t* values) {
  const CFI_type_t type = values->type;
  if (type == CFI_type_int8_t || type == CFI_type_int16_t || type == CFI_type_int32_t ||
      type == CFI_type_int64_t)
    return "integer";
  if (type == CFI_type_float_Complex || type == CFI_type_double_Complex) return "complex";
  if (type == CFI_type_char) return "character";
  if (type == CFI_type_long_double) return "real of extended precision";
  return "another type";
}

/* Arrays without elements may have no address and strides of 0; the runtime refuses both for arrays
 * that have elements. */
static void complete_empty(climlink_array* view, ptrdiff_t element) {
  static char nothing;
  int empty = 0;
  for (int i = 0; i < view->rank; ++i) empty |= view->extent[i] == 0;
  if (!empty) return;
  view->data = &nothing;
  for (int i = 0; i < view->rank; ++i) view->stride[i] = element;
}

climlink_status climlink_fortran_view(const char* name, const CFI_cdesc_t* values,
                                      climlink_array* view, char* message, size_t capacity) {
  if (values->type != CFI_type_float && values->type != CFI_type_double) {
    return refuse(message, capacity, CLIMLINK_ERROR_SHAPE,
                  "%s: the values must be real32 or real64; they are %s (%zu bytes each)", name,
                  type_name(values), values->elem_len);
  }
  if (values->rank < 1 || values->rank > CLIMLINK_MAX_RANK) {
    return refuse(
        message, capacity, CLIMLINK_ERROR_SHAPE,
        "%s: the values must be an array of rank 1 to %d, such as [column], [column, level] or "
        "[sample, lat, lon]; they have rank %d",
        name, CLIMLINK_MAX_RANK, (int)values->rank);
  }
  const ptrdiff_t element = (ptrdiff_t)values->elem_len;
  *view = (climlink_array){values->base_addr,
                           values->type == CFI_type_float ? CLIMLINK_FLOAT32 : CLIMLINK_FLOAT64,
                           values->rank,
                           {0},
                           {0}};
  for (int i = 0; i < values->rank; ++i) {
    view->extent[i] = values->dim[i].extent;
    view->stride[i] = values->dim[i].sm;
  }
  complete_empty(view, element);
  if (view->data == NULL) /* before the extents are looked at, which then mean nothing */
    return refuse(message, capacity, CLIMLINK_ERROR_ARGUMENT, "%s: the values are not allocated",
                  name);
  if (view->extent[view->rank - 1] < 0)
    return refuse(message, capacity, CLIMLINK_ERROR_SHAPE,
                  "%s: the values are an assumed-size array, whose last extent nobody knows; pass "
                  "a section such as values(:ncol, :nlev)",
                  name);
  return CLIMLINK_OK;
}

/* Address of sample 0 at a position of the row [dims...], the last dim fastest. */
static char* at_position(const climlink_array* view, int64_t position) {
  char* address = view->data;
  for (int i = view->rank - 1; i > 0; --i) {
    address += position % view->extent[i] * view->stride[i];
    position /= view->extent[i];
  }
  return address;
}

static climlink_status copy_values(const climlink_array* view, const CFI_cdesc_t* values,
                                   int to_view) {
  int64_t width = 1;
  for (int i = 1; i < view->rank; ++i) width *= view->extent[i];
  if (values->dim[0].extent != view->extent[0] || values->dim[1].extent != width)
    return CLIMLINK_ERROR_SHAPE;
  for (int64_t k = 0; k < width; ++k) {
    char* theirs = at_position(view, k);
    char* ours = (char*)values->base_addr + k * values->dim[1].sm;
    for (int64_t i = 0; i < view->extent[0]; ++i) {
      if (view->type == CLIMLINK_FLOAT64 && to_view) *(double*)theirs = *(double*)ours;
      if (view->type == CLIMLINK_FLOAT64 && !to_view) *(double*)ours = *(double*)theirs;
      if (view->type == CLIMLINK_FLOAT32 && to_view) *(float*)theirs = (float)*(double*)ours;
      if (view->type == CLIMLINK_FLOAT32 && !to_view) *(double*)ours = *(float*)theirs;
      theirs += view->stride[0];
      ours += values->dim[0].sm;
    }
  }
  return CLIMLINK_OK;
}

climlink_status climlink_fortran_read(const climlink_array* view, const CFI_cdesc_t* values) {
  return copy_values(view, values, 0);
}

climlink_status climlink_fortran_write(const climlink_array* view, const CFI_cdesc_t* values) {
  return copy_values(view, values, 1);
}
