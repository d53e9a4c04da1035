/* Fortran arrays of any kind, rank and stride, as they arrive in Fortran 2018 descriptors, become
 * climlink_array views: nothing is copied on the way. What a descriptor can hold and climlink_array
 * cannot is refused here, with a message of its own. */
#include <ISO_Fortran_binding.h>
#include <climlink/climlink.h>
#include <stdarg.h>
#include <stdio.h>

/* Called from climlink_c_api.F90 only. first_column is counted from 1; message receives the text of
 * a failure. */
climlink_status climlink_fortran_set(climlink_emulator* emulator, const char* name,
                                     const CFI_cdesc_t* values, int64_t first_column, char* message,
                                     size_t capacity);
climlink_status climlink_fortran_get(const climlink_emulator* emulator, const char* name,
                                     const CFI_cdesc_t* values, int64_t first_column, char* message,
                                     size_t capacity);

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

static climlink_status view_of(const char* name, const CFI_cdesc_t* values, climlink_array* view,
                               char* message, size_t capacity) {
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
    if (view->extent[i] >= 0) continue;
    return refuse(message, capacity, CLIMLINK_ERROR_SHAPE,
                  "%s: the values are an assumed-size array, whose last extent nobody knows; pass "
                  "a section such as values(:ncol, :nlev)",
                  name);
  }
  complete_empty(view, element);
  if (view->data == NULL)
    return refuse(message, capacity, CLIMLINK_ERROR_ARGUMENT, "%s: the values are not allocated",
                  name);
  return CLIMLINK_OK;
}

static climlink_status check_first_column(const char* name, int64_t first_column, char* message,
                                          size_t capacity) {
  if (first_column >= 1) return CLIMLINK_OK;
  return refuse(message, capacity, CLIMLINK_ERROR_SHAPE,
                "%s: first_column is counted from 1; it is %lld", name, (long long)first_column);
}

climlink_status climlink_fortran_set(climlink_emulator* emulator, const char* name,
                                     const CFI_cdesc_t* values, int64_t first_column, char* message,
                                     size_t capacity) {
  climlink_array view;
  climlink_status status = check_first_column(name, first_column, message, capacity);
  if (status == CLIMLINK_OK) status = view_of(name, values, &view, message, capacity);
  if (status != CLIMLINK_OK) return status;
  status = climlink_set(emulator, name, &view, first_column - 1);
  return status == CLIMLINK_OK ? status
                               : refuse(message, capacity, status, "%s", climlink_last_message());
}

climlink_status climlink_fortran_get(const climlink_emulator* emulator, const char* name,
                                     const CFI_cdesc_t* values, int64_t first_column, char* message,
                                     size_t capacity) {
  climlink_array view;
  climlink_status status = check_first_column(name, first_column, message, capacity);
  if (status == CLIMLINK_OK) status = view_of(name, values, &view, message, capacity);
  if (status != CLIMLINK_OK) return status;
  status = climlink_get(emulator, name, &view, first_column - 1);
  return status == CLIMLINK_OK ? status
                               : refuse(message, capacity, status, "%s", climlink_last_message());
}
