!> What the drop-in modules share: torchscript.h as Fortran sees it, and how an error ends the
!! program.
!!
!! The interfaces that are replaced have no status arguments, so an error is printed on the error
!! unit and ends the program.
module climlink_compat
  use, intrinsic :: iso_c_binding, only: c_associated, c_char, c_double, c_int, c_int32_t, &
                                         c_int64_t, c_loc, c_null_char, c_null_ptr, c_ptr, c_size_t
  use, intrinsic :: iso_fortran_env, only: error_unit
  use climlink_c_api, only: c_characters, c_text, climlink_last_message_c
  implicit none (type, external)
  private

  public :: c_description, c_value, climlink_tensor_wrap_c, climlink_tensor_create_c, &
            climlink_tensor_copy_of_c, climlink_tensor_share_c, climlink_tensor_copy_c, &
            climlink_tensor_zero_c, climlink_tensor_text_c, climlink_tensor_delete_c, &
            climlink_tensor_require_gradient_c, climlink_tensor_combine_c, &
            climlink_tensor_reduce_c, climlink_module_load_c, climlink_module_device_c, &
            climlink_module_forward_c, climlink_module_call_c, climlink_module_parameter_count_c, &
            climlink_module_parameter_c, climlink_module_delete_c, wrap_array, described, require, &
            refuse, forget

  integer(c_int), parameter, public :: c_value_tensor = 0_c_int, c_value_real = 1_c_int, &
    c_value_integer = 2_c_int
  integer(c_int), parameter, public :: c_ok = 0_c_int

  !> `climlink_value` of torchscript.h, member by member.
  type, bind(c) :: c_value
    integer(c_int) :: kind = c_value_tensor
    type(c_ptr) :: tensor = c_null_ptr
    real(c_double) :: real_value = 0.0_c_double
    integer(c_int64_t) :: integer_value = 0_c_int64_t
  end type c_value

  !> `climlink_tensor_info` of torchscript.h, member by member.
  type, bind(c) :: c_description
    integer(c_int) :: kind = 0_c_int
    integer(c_int32_t) :: rank = 0_c_int32_t
    type(c_ptr) :: shape = c_null_ptr
    type(c_ptr) :: stride = c_null_ptr
    integer(c_int32_t) :: cuda = 0_c_int32_t
    integer(c_int32_t) :: device_index = -1_c_int32_t
    type(c_ptr) :: data = c_null_ptr
    integer(c_int32_t) :: contiguous = 0_c_int32_t
    integer(c_int32_t) :: requires_gradient = 0_c_int32_t
  end type c_description

  abstract interface
    !> Leaves a null pointer.
    function handle_release(handle) result(status) bind(c)
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), intent(inout) :: handle
      integer(c_int) :: status
    end function handle_release
  end interface

  procedure(handle_release), bind(c, name='climlink_tensor_delete') :: climlink_tensor_delete_c
  procedure(handle_release), bind(c, name='climlink_module_delete') :: climlink_module_delete_c

  interface
    function climlink_tensor_wrap_c(data, kind, rank, shape, stride, device, tensor) &
      result(status) bind(c, name='climlink_tensor_wrap')
      import :: c_char, c_int, c_int32_t, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: data
      integer(c_int), value, intent(in) :: kind
      integer(c_int32_t), value, intent(in) :: rank
      integer(c_int64_t), intent(in) :: shape(*), stride(*)
      character(kind=c_char), intent(in) :: device(*)
      type(c_ptr), intent(out) :: tensor
      integer(c_int) :: status
    end function climlink_tensor_wrap_c

    function climlink_compat_wrap_c(values, layout, axes, n_order, device, tensor, message, &
                                    capacity) result(status) &
      bind(c, name='climlink_compat_wrap')
      import :: c_char, c_int, c_int32_t, c_ptr, c_size_t
      implicit none (type, external)
      type(*), dimension(..), intent(in), target :: values
      integer(c_int32_t), intent(in), optional :: layout(*), axes(*)
      integer(c_int32_t), value, intent(in) :: n_order
      character(kind=c_char), intent(in) :: device(*)
      type(c_ptr), intent(out) :: tensor
      character(kind=c_char), intent(inout) :: message(*)
      integer(c_size_t), value, intent(in) :: capacity
      integer(c_int) :: status
    end function climlink_compat_wrap_c

    function climlink_tensor_create_c(kind, rank, shape, fill, device, tensor) result(status) &
      bind(c, name='climlink_tensor_create')
      import :: c_char, c_int, c_int32_t, c_int64_t, c_ptr
      implicit none (type, external)
      integer(c_int), value, intent(in) :: kind
      integer(c_int32_t), value, intent(in) :: rank
      integer(c_int64_t), intent(in) :: shape(*)
      integer(c_int), value, intent(in) :: fill
      character(kind=c_char), intent(in) :: device(*)
      type(c_ptr), intent(out) :: tensor
      integer(c_int) :: status
    end function climlink_tensor_create_c

    function climlink_tensor_copy_of_c(source, device, tensor) result(status) &
      bind(c, name='climlink_tensor_copy_of')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: source
      character(kind=c_char), intent(in) :: device(*)
      type(c_ptr), intent(out) :: tensor
      integer(c_int) :: status
    end function climlink_tensor_copy_of_c

    function climlink_tensor_copy_c(source, target, convert, non_blocking) result(status) &
      bind(c, name='climlink_tensor_copy')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: source, target
      integer(c_int32_t), value, intent(in) :: convert, non_blocking
      integer(c_int) :: status
    end function climlink_tensor_copy_c

    function climlink_tensor_require_gradient_c(tensor, required) result(status) bind(c, &
                                                name='climlink_tensor_require_gradient')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: tensor
      integer(c_int32_t), value, intent(in) :: required
      integer(c_int) :: status
    end function climlink_tensor_require_gradient_c

    function climlink_tensor_combine_c(operation, left, right, output) result(status) bind(c, &
                                       name='climlink_tensor_combine')
      import :: c_int, c_ptr, c_value
      implicit none (type, external)
      integer(c_int), value, intent(in) :: operation
      type(c_value), intent(in) :: left, right
      type(c_ptr), intent(out) :: output
      integer(c_int) :: status
    end function climlink_tensor_combine_c

    function climlink_tensor_reduce_c(reduction, source, target) result(status) bind(c, &
                                      name='climlink_tensor_reduce')
      import :: c_int, c_ptr
      implicit none (type, external)
      integer(c_int), value, intent(in) :: reduction
      type(c_ptr), value, intent(in) :: source, target
      integer(c_int) :: status
    end function climlink_tensor_reduce_c

    function climlink_tensor_describe_c(tensor, info) result(status) &
      bind(c, name='climlink_tensor_describe')
      import :: c_description, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: tensor
      type(c_description), intent(out) :: info
      integer(c_int) :: status
    end function climlink_tensor_describe_c

    function climlink_module_load_c(path, device, module) result(status) &
      bind(c, name='climlink_module_load')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      character(kind=c_char), intent(in) :: path(*), device(*)
      type(c_ptr), intent(out) :: module
      integer(c_int) :: status
    end function climlink_module_load_c

    function climlink_module_parameter_c(module, index, name, tensor) result(status) bind(c, &
                                         name='climlink_module_parameter')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: module
      integer(c_int32_t), value, intent(in) :: index
      type(c_ptr), intent(out) :: name, tensor
      integer(c_int) :: status
    end function climlink_module_parameter_c

    function climlink_tensor_share_c(source, tensor) result(status) &
      bind(c, name='climlink_tensor_share')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: source
      type(c_ptr), intent(out) :: tensor
      integer(c_int) :: status
    end function climlink_tensor_share_c

    function climlink_tensor_text_c(tensor, text) result(status) &
      bind(c, name='climlink_tensor_text')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: tensor
      type(c_ptr), intent(out) :: text
      integer(c_int) :: status
    end function climlink_tensor_text_c

    function climlink_module_device_c(module, device) result(status) &
      bind(c, name='climlink_module_device')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: module
      type(c_ptr), intent(out) :: device
      integer(c_int) :: status
    end function climlink_module_device_c

    function climlink_module_forward_c(module, inputs, n_input, outputs, n_output) result(status) &
      bind(c, name='climlink_module_forward')
      import :: c_int, c_int32_t, c_ptr, c_value
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: module
      type(c_value), intent(in) :: inputs(*)
      integer(c_int32_t), value, intent(in) :: n_input
      type(c_ptr), intent(in) :: outputs(*)
      integer(c_int32_t), value, intent(in) :: n_output
      integer(c_int) :: status
    end function climlink_module_forward_c

    function climlink_module_call_c(module, inputs, n_input, outputs, n_output) result(status) &
      bind(c, name='climlink_module_call')
      import :: c_int, c_int32_t, c_ptr, c_value
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: module
      type(c_value), intent(in) :: inputs(*)
      integer(c_int32_t), value, intent(in) :: n_input
      type(c_ptr), intent(inout) :: outputs(*)
      integer(c_int32_t), value, intent(in) :: n_output
      integer(c_int) :: status
    end function climlink_module_call_c

    function climlink_module_parameter_count_c(module, count) result(status) &
      bind(c, name='climlink_module_parameter_count')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: module
      integer(c_int32_t), intent(out) :: count
      integer(c_int) :: status
    end function climlink_module_parameter_count_c

    function climlink_tensor_zero_c(tensor) result(status) bind(c, name='climlink_tensor_zero')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: tensor
      integer(c_int) :: status
    end function climlink_tensor_zero_c
  end interface

contains

  !> Ends the program with the message of the last C call unless that call succeeded.
  subroutine require(status, where)
    integer(c_int), intent(in) :: status
    character(len=*), intent(in) :: where

    if (status /= c_ok) call refuse(where, c_text(climlink_last_message_c()))
  end subroutine require

  !> Ends the program with a message.
  subroutine refuse(where, message)
    character(len=*), intent(in) :: where, message

    write (error_unit, '(4a)') '[ERROR]: ', where, ': ', message
    error stop 1
  end subroutine refuse

  !> A tensor over the memory of an array of any kind, rank and stride. `layout` gives the indices
  !! from fastest to slowest in memory, `axes` the index of the array that each axis of the tensor
  !! is; without both, index `i` is axis `i` where it lies.
  function wrap_array(values, device, where, layout, axes) result(tensor)
    type(*), dimension(..), intent(in), target :: values
    character(len=*), intent(in) :: device, where
    integer(c_int32_t), intent(in), optional :: layout(:), axes(:)
    type(c_ptr) :: tensor
    integer, parameter :: capacity = 1024
    character(kind=c_char), target :: message(capacity)
    integer(c_int32_t) :: n_order
    integer(c_int) :: status

    n_order = 0
    if (present(layout)) n_order = size(layout)
    if (present(axes)) n_order = size(axes)
    message = c_null_char
    status = climlink_compat_wrap_c(values, layout, axes, n_order, c_characters(device), tensor, &
                                    message, int(capacity, c_size_t))
    if (status /= c_ok) call refuse(where, c_text(c_loc(message)))
  end function wrap_array

  !> What a tensor is; ends the program if there is none.
  function described(tensor, where) result(info)
    type(c_ptr), intent(in) :: tensor
    character(len=*), intent(in) :: where
    type(c_description) :: info

    call require(climlink_tensor_describe_c(tensor, info), where)
  end function described

  !> Deletes a tensor for a finalizer: one that was deleted through a copy of its handle is passed
  !! over.
  subroutine forget(tensor)
    type(c_ptr), intent(inout) :: tensor
    integer(c_int) :: ignored

    if (c_associated(tensor)) ignored = climlink_tensor_delete_c(tensor)
    tensor = c_null_ptr
  end subroutine forget

end module climlink_compat
